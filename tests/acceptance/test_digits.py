"""The digits nobody trained on: the same answers through the queue as from the model itself."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from broker.embedded import embedded_redis
from core.settings import read_settings
from tests.support.yard import ROOT, Yard, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

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

#: The default ones and others that keep every value.
FORMATS = "JPEG,PNG,WEBP,GIF,BMP,TIFF,JPEG2000,PPM"
WITHOUT_LOSS: dict[str, dict[str, Any]] = {"webp": {"lossless": True}}


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


@pytest.fixture(scope="module")
def digits_yard(converted: Path) -> Iterator[Yard]:
    """A yard with one worker of two children."""
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    furnish(home, converted)
    settings = read_settings(home=home, concurrency=2, formats=FORMATS)
    with embedded_redis(home), Yard(settings) as opened:
        opened.worker()
        yield opened
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def queued(digits_yard: Yard, held_out: Path) -> dict[str, Any]:
    """What the yard says of the held-out digits, by file name."""
    return answers(digits_yard, held_out)


def answers(yard: Yard, folder: Path, *words: str, **settings: str) -> dict[str, Any]:
    """Submit the pictures, wait, and return the rows by file name."""
    done = yard.command(
        "submit", str(folder), "--model", "digits", "--top-k", "10", "--wait", "--json",
        *words, **settings,
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


def test_nearly_all_are_right(queued: dict[str, Any], held_out: Path) -> None:
    with (held_out / "truth.csv").open() as file:
        truth = {line["file"]: line["label"] for line in csv.DictReader(file)}
    assert queued.keys() == truth.keys()
    right = sum(row["label"] == truth[name] for name, row in queued.items())
    assert right / len(truth) >= 0.97


def test_the_queue_answers_as_the_model_called_directly(queued: dict[str, Any]) -> None:
    direct = json.loads(python("-c", DIRECT))
    assert queued.keys() == direct.keys()
    for name, row in queued.items():
        scores = {int(p["label"]): p["score"] for p in row["predictions"]}
        assert [scores[digit] for digit in range(10)] == pytest.approx(direct[name], abs=1e-4)


def test_two_workers_and_small_chunks_answer_the_same(
    digits_yard: Yard, queued: dict[str, Any], held_out: Path
) -> None:
    second = digits_yard.worker(CLASSYARD_CONCURRENCY="1")
    same(queued, answers(digits_yard, held_out, "--chunk-size", "7"))
    assert digits_yard.sql("SELECT count(DISTINCT worker) FROM results")[0][0] == 2
    second.stop()


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_another_engine_and_its_batches_answer_the_same(
    digits_yard: Yard, queued: dict[str, Any], held_out: Path, engine: str
) -> None:
    settings = {"CLASSYARD_QUEUE": engine, "CLASSYARD_ENGINE": engine}
    digits_yard.worker(CLASSYARD_CONCURRENCY="1", CLASSYARD_BATCH_SIZE="8", **settings)
    same(queued, answers(digits_yard, held_out, "--chunk-size", "100", **settings))
    assert digits_yard.sql(f"SELECT engine FROM workers WHERE queue = '{engine}'") == [(engine,)]


def test_the_same_picture_stored_without_loss_in_any_way_gets_the_same_scores(
    digits_yard: Yard, held_out: Path, tmp_path: Path
) -> None:
    digit = Image.open(sorted(held_out.glob("*.png"))[0]).convert("L")
    sixteen = digit.convert("I").point(lambda value: value * 257).convert("I;16")
    for mode in ("L", "RGB", "RGBA", "LA", "P"):
        for kind in ("png", "tif", "webp", "bmp", "jp2"):
            if (mode, kind) not in {("LA", "bmp"), ("P", "jp2")}:
                digit.convert(mode).save(tmp_path / f"{mode}.{kind}", **WITHOUT_LOSS.get(kind, {}))
    for kind in ("png", "tif", "jp2", "pgm"):
        sixteen.save(tmp_path / f"16.{kind}")
    digit.save(tmp_path / "grey.gif")
    digit.save(tmp_path / "named-wrongly.jpg", "PNG")
    rows = answers(digits_yard, tmp_path)
    assert len(rows) == 29
    wanted = {p["label"]: p["score"] for p in rows["L.png"]["predictions"]}
    for name, row in rows.items():
        scores = {p["label"]: p["score"] for p in row["predictions"]}
        assert scores == pytest.approx(wanted, abs=1e-3), name
