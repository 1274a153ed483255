"""The digits nobody trained on: the same answers through the queue as from the model itself."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import read_settings
from tests.acceptance.conftest import furnish
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.yard import Running

#: Calls the model directly, as the training script measured it: no queue, no worker, no LiteRT.
DIRECT = """
import json, sys
sys.path.insert(0, "tools")
import keras, train_digits
_, held_out = train_digits.split()
model = keras.saving.load_model(train_digits.CATALOG / "model.keras")
scores = model.predict(train_digits.pixels(held_out.pictures), batch_size=64, verbose=0)
names = map(train_digits.file_name, held_out.digits, held_out.numbers)
print(json.dumps(dict(zip(names, scores.astype(float).tolist(), strict=True))))
"""


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "test"
    python("tools/train_digits.py", "--export-test", str(folder))
    return folder


@pytest.fixture
def digits_yard(home: Path, broker_url: str, converted: Path) -> Iterator[Yard]:
    furnish(home, converted)
    settings = read_settings(home=home, broker_url=broker_url, concurrency=2)
    with Yard(settings) as opened:
        yield opened


def answers(yard: Yard, folder: Path, *words: str) -> dict[str, Any]:
    """Submit the pictures, wait, and return the rows by file name."""
    done = yard.command(
        "submit", str(folder / "*.png"), "--model", "digits", "--top-k", "10", "--wait", "--json",
        *words,
    )  # fmt: skip
    assert done.code == 0, done.err
    job = json.loads(done.out)["job_id"]
    listed = yard.command("results", str(job), "--format", "jsonl")
    rows = [json.loads(line) for line in listed.out.splitlines()]
    return {row["uri"].rpartition("/")[2]: row for row in rows}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, row in one.items():
        assert row["label"] == other[name]["label"], name
        scores = {p["label"]: p["score"] for p in row["predictions"]}
        others = {p["label"]: p["score"] for p in other[name]["predictions"]}
        assert scores == pytest.approx(others, abs=1e-4), name


def test_the_same_answers_however_they_are_computed(digits_yard: Yard, held_out: Path) -> None:
    with (held_out / "truth.csv").open() as file:
        truth = {line["file"]: line["label"] for line in csv.DictReader(file)}
    worker: Running = digits_yard.worker()
    queued = answers(digits_yard, held_out)
    assert queued.keys() == truth.keys()
    right = sum(row["label"] == truth[name] for name, row in queued.items())
    assert right / len(truth) >= 0.97

    direct = json.loads(python("-c", DIRECT))
    for name, row in queued.items():
        scores = {int(p["label"]): p["score"] for p in row["predictions"]}
        assert [scores[digit] for digit in range(10)] == pytest.approx(direct[name], abs=1e-4)

    digits_yard.worker(CLASSYARD_CONCURRENCY="1")
    two_workers = answers(digits_yard, held_out, "--chunk-size", "7")
    assert digits_yard.sql("SELECT count(DISTINCT worker) FROM results")[0][0] == 2
    same(queued, two_workers)
    worker.stop()
    same(queued, answers(digits_yard, held_out, "--chunk-size", "360"))


def test_the_keras_engine_and_its_batches_say_the_same(digits_yard: Yard, held_out: Path) -> None:
    few = held_out.parent / "few"
    few.mkdir(exist_ok=True)
    for picture in sorted(held_out.glob("*.png"))[::10]:
        (few / picture.name).symlink_to(picture)
    litert = digits_yard.worker(CLASSYARD_CONCURRENCY="1")
    queued = answers(digits_yard, few, "--root", str(held_out))
    litert.stop()
    digits_yard.worker(
        CLASSYARD_CONCURRENCY="1", CLASSYARD_ENGINE="keras", CLASSYARD_BATCH_SIZE="8"
    )
    batched = answers(digits_yard, few, "--root", str(held_out), "--chunk-size", "20")
    same(queued, batched)
