"""Thumbnails: pictures made small under the worker's limits, in a process that may die."""

from __future__ import annotations

import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3
from PIL import Image

from core.settings import read_settings
from producer.thumbnails import NoThumbnail, Thumbnail, Thumbnails, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several kinds, and what only looks like one."""
    folder = tmp_path_factory.mktemp("pictures")
    half = Image.new("RGB", (400, 200), "white")
    half.paste("red", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn it clockwise
    exif[0x010E] = "a secret remark"
    half.save(folder / "turned.jpg", exif=exif, quality=95)
    Image.new("L", (8, 8), 128).save(folder / "tiny.png")
    (folder / "broken.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:400])
    return folder


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thumbnails]:
    with Thumbnails(read_settings(home=tmp_path_factory.mktemp("home"))) as opened:
        yield opened


def wanted(path: Path, **more: object) -> Wanted:
    return Wanted(path.as_uri(), (str(path.parent),), **more)  # type: ignore[arg-type]


def test_a_picture_is_small_and_upright_and_tells_nothing_else(
    thumbnails: Thumbnails, folder: Path
) -> None:
    made = thumbnails.make(wanted(folder / "turned.jpg", side=100))
    assert isinstance(made, Thumbnail)
    assert (made.kind, made.width, made.height) == ("image/jpeg", 50, 100)
    image = Image.open(io.BytesIO(made.content))
    assert image.size == (50, 100)
    assert "exif" not in image.info
    assert b"secret" not in made.content
    greens = [image.getpixel((25, y))[1] for y in (10, 90)]  # type: ignore[index]
    assert greens[0] < 60  # red
    assert greens[1] > 200  # white


def test_a_tiny_picture_stays_as_it_is(thumbnails: Thumbnails, folder: Path) -> None:
    made = thumbnails.make(wanted(folder / "tiny.png"))
    assert isinstance(made, Thumbnail)
    assert (made.kind, made.width, made.height) == ("image/png", 8, 8)


def test_what_cannot_be_shown_says_why(thumbnails: Thumbnails, folder: Path) -> None:
    turned = folder / "turned.jpg"
    content = turned.read_bytes()
    known = blake3(content).hexdigest(length=16)
    older = blake2b(content, digest_size=16).hexdigest()
    for content_hash in (known, older):
        assert isinstance(thumbnails.make(wanted(turned, content_hash=content_hash)), Thumbnail)
    for asked, code in (
        (wanted(folder / "broken.jpg"), "decode_failed"),
        (wanted(folder / "absent.jpg"), "file_not_found"),
        (wanted(turned, content_hash="0" * 32), "changed"),
        (Wanted(turned.as_uri(), ()), "path_forbidden"),
        (Wanted(turned.as_uri(), (str(folder / "else"),)), "path_forbidden"),
        (Wanted("http://127.0.0.1:9/a.jpg"), "uri_forbidden"),
        (Wanted("http://127.0.0.1/a.jpg"), "addr_forbidden"),
        (Wanted("javascript:alert(1)"), "uri_scheme"),
    ):
        made = thumbnails.make(asked)
        assert isinstance(made, NoThumbnail), asked
        assert made.code == code


def test_many_at_once_get_their_own_and_a_death_is_made_up_for(
    thumbnails: Thumbnails, folder: Path
) -> None:
    paths = []
    for side in range(20, 60):
        paths.append(folder / f"{side}.png")
        Image.new("RGB", (side, 10)).save(paths[-1])
    thumbnails.make(wanted(paths[0]))
    assert thumbnails._maker is not None
    before = thumbnails._maker._process.pid
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(thumbnails.make, wanted(path), 30) for path in paths]
        os.kill(before, signal.SIGKILL)
        made = [future.result() for future in futures]
    assert [one.width for one in made if isinstance(one, Thumbnail)] == list(range(20, 60))
    assert thumbnails._maker._process.pid != before


def test_too_slow_is_no_thumbnail(thumbnails: Thumbnails, folder: Path) -> None:
    made = thumbnails.make(wanted(folder / "turned.jpg"), seconds=0)
    assert isinstance(made, NoThumbnail)
    assert made.code == "timeout"
