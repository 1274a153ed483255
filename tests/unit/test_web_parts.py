"""The web page's small parts: the shelf that is pruned, the names that are answered, the sentences."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core.errors import Code, SettingsError
from core.meanings import MEANINGS
from core.settings import read_settings
from producer.web.listening import names
from producer.web.shelf import DAY, free_name, new_folder, prune


def drops(shelf: Path, *days: float) -> list[Path]:
    """Put drops of 1,000 bytes on a shelf, each so many days old, the oldest first."""
    made = []
    for number, age in enumerate(days):
        folder = shelf / f"2026010{number}T000000-x"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(bytes(1000))
        then = time.time() - age * DAY
        os.utime(folder, (then, then))
        made.append(folder)
    return made


def test_drops_go_by_age_and_then_the_oldest_by_size(tmp_path: Path) -> None:
    old, *rest = drops(tmp_path, 8, 3, 2, 1)
    assert prune(tmp_path, 7 * DAY, 10_000) == 1
    assert not old.exists()
    assert prune(tmp_path, 7 * DAY, 2500) == 1
    assert [folder.exists() for folder in rest] == [False, True, True]
    assert prune(tmp_path, 7 * DAY, 0) == 2
    assert prune(tmp_path / "none", 7 * DAY, 0) == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("photo.JPG", "photo.png"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\Pictures\\a b.jpeg", "a b.png"),
        ("", "picture.png"),
        ("....", "__.png"),
        (".hidden", "hidden.png"),
        ("Zürich 2024.webp", "Zürich 2024.png"),
        ("a\0b\n<c>.csv", "a_b__c_.png"),
        ("x" * 500, "x" * 80 + ".png"),
    ],
)
def test_a_file_keeps_what_is_harmless_of_its_name(tmp_path: Path, given: str, kept: str) -> None:
    folder = new_folder(tmp_path)
    assert free_name(folder, given, "PNG") == kept
    (folder / kept).touch()
    assert free_name(folder, given, "PNG") == kept.replace(".png", " (2).png")


def test_any_address_is_a_name_only_where_we_listen_on_all(home: Path) -> None:
    own = names(read_settings(home=home))
    everywhere = names(read_settings(home=home, web_address="0.0.0.0", web_hosts=("Yard.example",)))
    assert not own.allow("10.1.2.3:5550")
    assert everywhere.allow("10.1.2.3:5550")
    assert everywhere.allow("[fe80::1]")
    assert everywhere.allow("yard.EXAMPLE:80")
    assert not everywhere.allow("evil.example")
    assert names(read_settings(home=home, web_address="10.0.0.7")).allow("10.0.0.7:5550")


def test_a_drop_must_fit_on_the_shelf() -> None:
    with pytest.raises(SettingsError, match="WEB_DROP_BYTES"):
        read_settings(web_drop_bytes=2000, web_keep_bytes=1000)


def test_every_error_code_has_its_sentence() -> None:
    assert set(MEANINGS) == set(Code)
