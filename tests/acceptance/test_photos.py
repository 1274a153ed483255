"""Photographs through the real commands: right labels, and broken files hurt nobody but themselves."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import read_settings
from db.migrate import migrate
from db.session import open_database
from tests.support.record import Record
from tests.support.yard import Yard, furnish

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.shared


def breakages(photo: bytes) -> dict[str, Callable[[Path], Any]]:
    """Twenty ways to be no photograph, by file name; each knows how to put itself there."""
    made: dict[str, Callable[[Path], Any]] = {}
    for n in range(4):
        made[f"a-empty-{n}.jpg"] = lambda path: path.write_bytes(b"")
        made[f"n-cut-{n}.jpg"] = lambda path, n=n: path.write_bytes(photo[: 400 << n])
        made[f"m-text-{n}.jpg"] = lambda path, n=n: path.write_text(
            "not a picture\n" * 99 * n + "x"
        )
        made[f"z-dangling-{n}.jpg"] = lambda path: path.symlink_to("nowhere.jpg")
        made[f"q-folder-{n}.jpg"] = lambda path: path.mkdir()
    return made


CODES = {
    "a-empty": {"empty"},
    "n-cut": {"truncated", "decode_failed"},
    "m-text": {"not_an_image"},
    "z-dangling": {"file_not_found"},
    "q-folder": {"not_a_file"},
}


@pytest.fixture
def photo_yard(home: Path, database_url: str, converted: Path, photo_models: Path) -> Yard:
    furnish(home, converted)
    database = open_database(database_url)
    migrate(database)
    database.close()
    return Yard(read_settings(home=home, database_url=database_url, models_dir=photo_models))


def rows_of(yard: Yard, job: int) -> list[Any]:
    database = open_database(yard.settings.database)
    rows = Record(database).rows(job)
    database.close()
    return list(rows)


def test_two_hundred_photographs_and_twenty_broken_files_among_them(
    photo_yard: Yard, shared: Path, home: Path
) -> None:
    photos = shared / "images" / "imagenet-200"
    done = photo_yard.command("run", str(photos), "--model", "mobilenet_v2", "--json")
    assert done.code == 0, done.err
    rows = rows_of(photo_yard, json.loads(done.out)["job_id"])
    with (shared / "images" / "imagenet-200.csv").open() as file:
        truth = {line["file"]: int(line["class_index"]) for line in csv.DictReader(file)}
    named = {row.uri.rpartition("/")[2]: row for row in rows}
    assert set(named) == set(truth)
    right = sum(named[name].class_index == index for name, index in truth.items())
    assert right / len(truth) >= 0.88

    mixed = home / "mixed"
    mixed.mkdir()
    for photo in photos.iterdir():
        (mixed / photo.name).symlink_to(photo)
    broken = breakages((photos / "n01440764_tench.JPEG").read_bytes())
    assert len(broken) == 20
    for name, put in broken.items():
        put(mixed / name)
    done = photo_yard.command(
        "run", str(mixed), "--root", str(photos), "--model", "mobilenet_v2", "--json"
    )
    assert done.code == 3, done.err
    told = json.loads(done.out)
    assert (told["total"], told["ok"], told["failed"]) == (220, 200, 20)
    rows = rows_of(photo_yard, told["job_id"])
    assert [row.position for row in rows] == list(range(220))
    for row in rows:
        name = row.uri.rpartition("/")[2]
        if name in broken:
            assert row.error_code in CODES[name.rpartition("-")[0]], (name, row.error_code)
            assert row.error
        else:
            before = named[name]
            assert (row.class_index, row.label) == (before.class_index, before.label)
            assert row.score == pytest.approx(before.score, abs=1e-4)
            assert row.content_hash == before.content_hash


def test_one_photograph_prints_its_ten_labels(
    home: Path, converted: Path, photo_models: Path, shared: Path
) -> None:
    furnish(home, converted)
    yard = Yard(read_settings(home=home, models_dir=photo_models))
    photo = shared / "images" / "imagenet-200" / "n01440764_tench.JPEG"
    done = yard.command("run", str(photo))
    assert done.code == 0, done.err
    ranks = re.findall(r"^ *(\d+)  (\S+) +(\d+\.\d\d)%", done.out, re.MULTILINE)
    assert [int(rank) for rank, _, _ in ranks] == list(range(1, 11))
    assert ranks[0][1] == "tench"
    scores = [float(score) for _, _, score in ranks]
    assert scores == sorted(scores, reverse=True)
    assert 50 < sum(scores) <= 100.1
