"""The first file that workers will refuse is found, whatever leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producer.sources.outside import outside
from producer.sources.uris import file_uris

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in side").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in side")
    (tmp_path / "in side" / "away").symlink_to("/")
    return tmp_path


def uris(*paths: Path) -> list[str]:
    return file_uris([str(path) for path in paths])


def test_what_workers_will_read_is_not_outside(folder: Path) -> None:
    roots = [str(folder / "in side")]
    picture, linked = uris(folder / "in side" / "a.jpg", folder / "link" / "sub" / "a.jpg")
    member = picture.replace("file", "zip", 1) + "!/b.jpg"
    web = [
        "https://example.org/a.jpg",
        "s3://scans/a.jpg",
        "data:image/png;base64,AAAA",
        "nonsense",
    ]
    assert outside([picture, linked, member, *web], roots) is None
    assert outside([picture], ["/"]) is None


def test_the_first_that_workers_will_refuse(folder: Path) -> None:
    inside = folder / "in side"
    for stray in (folder / "a.jpg", folder / "in side too" / "a.jpg"):
        found = uris(inside / "a.jpg", stray, folder / "b.jpg")
        assert outside(found, [str(inside)]) == stray
    member = uris(folder / "a.zip")[0].replace("file", "zip", 1) + "!/b.jpg"
    assert outside([member], [str(inside)]) == folder / "a.zip"
    assert outside(uris(folder / "a.jpg"), []) == folder / "a.jpg"
