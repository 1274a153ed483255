"""`classyard models prune`: what replaced models left goes, what a job or a worker needs stays."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.embedded import embedded_redis
from core.modelspec import read_model
from core.prepare import prepared_file
from core.settings import read_settings
from tests.support.yard import ROOT, Yard, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG = ROOT / "core" / "catalog" / "digits"
SAMPLE = ROOT / "producer" / "samples" / "digits" / "digit-2-0187.png"
HOURS = 2 * 3600


@pytest.fixture
def opened(home: Path, converted: Path) -> Iterator[Yard]:
    """A yard that can serve the digits, without a worker yet."""
    furnish(home, converted)
    digits = read_model("digits", home / "models").fingerprint
    for file in (home / "converted").iterdir():
        if not file.name.startswith(digits):  # other tests of this run prepared other models
            file.unlink()
    with embedded_redis(home), Yard(read_settings(home=home, concurrency=1)) as yard:
        yield yard


def put(yard: Yard, name: str, rule: str) -> str:
    """Add, or replace, a model; return its fingerprint."""
    digits = read_model("digits", yard.settings.models_path)
    folder = yard.settings.home / name
    folder.mkdir(exist_ok=True)
    shutil.copy(prepared_file(digits, yard.settings), folder / "model.tflite")
    shutil.copy(CATALOG / "labels.txt", folder)
    document = "[input]\nheight = 32\nwidth = 32\ncolor = 'gray'\n"
    (folder / "model.toml").write_text(f"{document}filter = '{rule}'\n", "utf-8")
    done = yard.command("models", "add", str(folder), "--replace", "--json")
    assert done.code == 0, done.err
    return str(json.loads(done.out)["fingerprint"])


def prune(yard: Yard, *words: str) -> dict[str, Any]:
    done = yard.command("models", "prune", "--json", *words)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def kept(yard: Yard) -> set[str]:
    """The fingerprints of what is prepared."""
    files = (yard.settings.home / "converted").iterdir()
    return {file.name[:32] for file in files if file.suffix == ".tflite"}


def test_what_a_replaced_model_left_goes_once_no_job_needs_it(opened: Yard) -> None:
    digits = read_model("digits", opened.settings.models_path).fingerprint
    old = put(opened, "mine", "bilinear")
    job = opened.submit([str(SAMPLE)], "--root", str(SAMPLE.parent), model="mine")
    new = put(opened, "mine", "bicubic")
    assert kept(opened) == {digits, old, new}
    assert prune(opened) == {"deleted": True, "bytes": 0, "models": []}
    assert kept(opened) == {digits, old, new}

    opened.worker()
    assert opened.finish(job) == "completed"
    dry = prune(opened, "--dry-run")
    (gone,) = dry["models"]
    assert (dry["deleted"], gone["model"], gone["fingerprint"]) == (False, "mine", old)
    assert kept(opened) == {digits, old, new}
    there = sum(
        file.stat().st_size for file in (opened.settings.home / "converted").glob(f"{old}*")
    )
    assert gone["bytes"] == dry["bytes"] == there > 0
    done = opened.command("models", "prune")
    assert f"mine {old}: {there:,} bytes\ndeleted: {there:,} bytes in " in done.out
    assert kept(opened) == {digits, new}
    # The worker that served the old one has it mapped still, and goes on.
    again = opened.submit([str(SAMPLE)], "--root", str(SAMPLE.parent), model="mine")
    assert opened.finish(again) == "completed"


def test_members_stay_for_an_ensemble_and_its_job(opened: Yard) -> None:
    member = put(opened, "first", "bilinear")
    assert put(opened, "second", "bilinear") == member  # names are no part of it
    folder = opened.settings.models_path / "both"
    folder.mkdir()
    (folder / "model.toml").write_text("[ensemble]\nmembers = ['first', 'second']\n", "utf-8")
    assert opened.command("models", "check", "both").code == 0
    job = opened.submit([str(SAMPLE)], "--root", str(SAMPLE.parent), model="both")
    for name in ("first", "second", "both"):
        shutil.rmtree(opened.settings.models_path / name)
    assert prune(opened)["models"] == []
    opened.worker()
    assert opened.finish(job) == "completed"
    removed = {one["model"]: one["fingerprint"] for one in prune(opened)["models"]}
    assert set(removed) == {"first", "both"}
    assert removed["first"] == member


def test_what_broke_off_goes_after_hours_and_other_files_stay(opened: Yard) -> None:
    folder = opened.settings.home / "converted"
    for name, age in (("draft-old", HOURS), ("draft-new", 0), ("prepare.log", HOURS)):
        (folder / name).write_bytes(b"123")
        when = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (when, when))
    copy = folder / f"{'ab' * 16}-2.keras.kept"
    copy.mkdir()
    (copy / "model.keras").write_bytes(b"12345")
    (folder / f"{'cd' * 16}-1.tflite").write_bytes(b"1")  # of another version's converter
    found = {one["fingerprint"]: one["bytes"] for one in prune(opened)["models"]}
    assert found == {"": 3, "ab" * 16: 5, "cd" * 16: 1}
    assert not copy.exists()
    assert {"draft-new", "prepare.log"} < {file.name for file in folder.iterdir()}
    assert prune(opened)["models"] == []


def test_nothing_goes_while_a_model_cannot_be_read(opened: Yard) -> None:
    old = put(opened, "mine", "bilinear")
    (opened.settings.models_path / "mine" / "model.toml").write_text("[input\n", "utf-8")
    done = opened.command("models", "prune")
    assert done.code == 1
    assert "mine/model.toml: " in done.err
    assert done.err.count("\n") == 1
    assert old in kept(opened)
