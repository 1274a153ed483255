"""Networks of one's own: the worked examples of docs/models.md, from `model.toml` to the rows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.embedded import embedded_redis
from core.settings import read_settings
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Makes the three networks of the document, and lets plain Keras say what it thinks of the pictures.
MAKE = """
import json, os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import keras, numpy as np
from pathlib import Path
from PIL import Image

keras.utils.set_random_seed(5)
layers, root, pictures = keras.layers, Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))

def network(shape, units, activation, strides=3):
    return keras.Sequential([
        keras.Input(shape), layers.Conv2D(8, 5, strides=strides, activation="relu"), layers.Flatten(),
        layers.Dense(units, activation=activation, kernel_initializer=keras.initializers.RandomNormal(0, 0.08)),
    ])

def pixels(size, mode, crop):
    found = []
    for path in pictures:
        picture = Image.open(path).convert(mode)
        box = None
        if crop:
            side = min(picture.size) * crop
            left, top = (picture.width - side) / 2, (picture.height - side) / 2
            box = (left, top, picture.width - left, picture.height - top)
        resized = picture.resize(size[::-1], Image.Resampling.BILINEAR, box)
        found.append(np.asarray(resized, np.float32).reshape(*size, -1))
    return np.stack(found)

def divided(made, values, thresholds):
    # Shift the last bias so that some pictures reach each threshold, and none but narrowly.
    scores = np.asarray(made(values), float)
    logits = np.sort(np.log(scores / (1 - scores)), axis=0)
    gaps = np.diff(logits[5:-1], axis=0)
    row = gaps.argmax(axis=0) + 5
    middle = [(logits[i, unit] + logits[i + 1, unit]) / 2 for unit, i in enumerate(row)]
    wanted = np.log(np.array(thresholds) / (1 - np.array(thresholds)))
    made.layers[-1].bias.assign(wanted - middle)
    return made

def say(name, made, values, labels, thresholds=None):
    if thresholds:
        made = divided(made, values, thresholds)
    folder = root / name
    folder.mkdir(parents=True)
    made.save(folder / "model.keras")
    (folder / "labels.txt").write_text("\\n".join(labels) + "\\n")
    return np.asarray(made(values)).astype(float).tolist()

def both(weights):
    # An ensemble of two that also looks at the mirrored picture.
    values = pixels((160, 160), "RGB", 0.875) / 255
    made = [keras.models.load_model(root / name / "model.keras") for name in ("ripe", "riper")]
    scores = [np.asarray(m(v), float) for m in made for v in (values, values[:, :, ::-1])]
    return np.average(scores, axis=0, weights=np.repeat(weights, 2)).tolist()

print(json.dumps({
    "ripe": say("ripe", network((160, 160, 3), 3, "softmax", 6), pixels((160, 160), "RGB", 0.875) / 255, ["green", "ripe", "rotten"]),
    "riper": say("riper", network((160, 160, 3), 3, "softmax", 6), pixels((160, 160), "RGB", 0.875) / 255, ["green", "ripe", "rotten"]),
    "both": both([1, 2]),
    "tumour": say("tumour", network((96, 128, 1), 1, "sigmoid"), pixels((96, 128), "L", 0) / 127.5 - 1, ["healthy", "tumour"], [0.2]),
    "beach": say("beach", network((64, 64, 3), 4, "sigmoid"),
        (pixels((64, 64), "RGB", 0.875) - [120, 115, 105]) / [60, 60, 65], ["dog", "person", "boat", "litter"], [0.5, 0.8, 0.5, 0.5]),
}))
"""

BOTH = """
[ensemble]
members = ["ripe", "riper"]
weights = [1, 2]

[augment]
flip = true
"""

pytestmark = pytest.mark.tensorflow


def documents() -> dict[str, str]:
    """The `model.toml` of each worked example, as it stands in the document."""
    text = (ROOT / "docs" / "models.md").read_text("utf-8")
    found = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    named = {"tomatoes": "ripe", "Tumour": "tumour", "beach": "beach"}
    return {
        model: document
        for document in found
        for word, model in named.items()
        if f"{word}" in document.split("\n", 1)[0]
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen pictures of coloured noise, smooth enough that a rounding is no other picture."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(11)
    for number in range(12):
        coarse = random.integers(0, 256, (4, 5, 3), np.uint8) // (1 + number % 3)
        Image.fromarray(coarse).resize((250, 200), Image.Resampling.BICUBIC).save(
            folder / f"{number:02}.png"
        )
    return folder


@pytest.fixture(scope="module")
def yard(pictures: Path) -> Iterator[tuple[Yard, dict[str, list[list[float]]]]]:
    """A yard that serves the three models, and what plain Keras says of the pictures."""
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    done = subprocess.run(
        [sys.executable, "-c", MAKE, home / "models", pictures],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for model, document in documents().items():
        (home / "models" / model / "model.toml").write_text(document, "utf-8")
    shutil.copy(home / "models" / "ripe" / "model.toml", home / "models" / "riper")
    (home / "models" / "both").mkdir()
    (home / "models" / "both" / "model.toml").write_text(BOTH, "utf-8")
    with embedded_redis(home), Yard(read_settings(home=home, concurrency=1)) as opened:
        opened.worker()
        yield opened, json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(home, ignore_errors=True)


def completed(yard: Yard, model: str, pictures: Path, *words: str) -> int:
    done = yard.command("submit", str(pictures), "--model", model, "--json", *words)
    assert done.code == 0, done.err
    job = int(json.loads(done.out)["job_id"])
    assert yard.finish(job, 100) == "completed"
    return job


def rows(yard: Yard, model: str, pictures: Path) -> list[Any]:
    job = completed(yard, model, pictures)
    found = yard.sql(
        "SELECT class_index, label, score, predictions FROM results WHERE job_id = :id ORDER BY position",
        id=job,
    )
    return [(i, label, score, json.loads(ranks)) for i, label, score, ranks in found]


def test_one_of_several(yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path) -> None:
    opened, plain = yard
    labels = ["green", "ripe", "rotten"]
    found = rows(opened, "ripe", pictures)
    assert len({label for _, label, _, _ in found}) > 1
    for (index, label, score, ranks), scores in zip(found, plain["ripe"], strict=True):
        best = max(range(3), key=scores.__getitem__)
        assert (index, label) == (best, labels[best])
        assert score == pytest.approx(scores[best], abs=5e-3)
        assert sum(rank[2] for rank in ranks) == pytest.approx(1, abs=1e-4)


def test_an_ensemble_that_looks_twice(
    yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path
) -> None:
    opened, plain = yard
    labels = ["green", "ripe", "rotten"]
    for (_, _, _, ranks), scores in zip(rows(opened, "both", pictures), plain["both"], strict=True):
        found = {label: score for _, label, score in ranks}
        assert [found[label] for label in labels] == pytest.approx(scores, abs=5e-3)


def test_yes_or_no(yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path) -> None:
    opened, plain = yard
    found = rows(opened, "tumour", pictures)
    assert {label for _, label, _, _ in found} == {"healthy", "tumour"}
    for (index, label, score, ranks), (tumour,) in zip(found, plain["tumour"], strict=True):
        assert abs(tumour - 0.2) > 5e-3, "choose another seed"
        assert (index, label) == ((1, "tumour") if tumour >= 0.2 else (0, "healthy"))
        assert score == pytest.approx(tumour if index else 1 - tumour, abs=5e-3)
        assert [rank[0] for rank in ranks] == [index, 1 - index]


def test_several_labels(yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path) -> None:
    opened, plain = yard
    labels, thresholds = ["dog", "person", "boat", "litter"], [0.5, 0.8, 0.5, 0.5]
    counts = set()
    for (index, label, score, ranks), scores in zip(
        rows(opened, "beach", pictures), plain["beach"], strict=True
    ):
        assert all(abs(a - b) > 5e-3 for a, b in zip(scores, thresholds, strict=True)), "other seed"
        reached = [i for i in range(4) if scores[i] >= thresholds[i]]
        counts.add(len(reached))
        if not reached:
            assert ranks == [[4, "nothing", pytest.approx(1 - max(scores), abs=5e-3)]]
            assert (index, label) == (4, "nothing")
            continue
        reached.sort(key=lambda i: -scores[i])
        assert [rank[:2] for rank in ranks] == [[i, labels[i]] for i in reached]
        assert (index, label) == (reached[0], labels[reached[0]])
        assert score == pytest.approx(scores[reached[0]], abs=5e-3)
    assert {0, 1} < counts  # none, one, and more than one


def test_embeddings_are_kept_beside_the_results_and_exported(
    yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    opened, plain = yard
    job = completed(opened, "tumour", pictures, "--embeddings")
    statement = "SELECT position, vector FROM embeddings WHERE job_id = :id ORDER BY position"
    stored = opened.sql(statement, id=job)
    assert [position for position, _ in stored] == list(range(12))
    assert len({len(vector) for _, vector in stored}) == 1
    assert opened.command("export", str(job), "-o", str(tmp_path / "out.parquet")).code == 0
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row, (position, vector), (tumour,) in zip(table, stored, plain["tumour"], strict=True):
        assert row["position"] == position
        assert len(row["embedding"]) * 2 == len(vector)
        assert row["score"] == pytest.approx(
            max(tumour, 1 - tumour) if tumour < 0.2 else tumour, abs=5e-3
        )
        assert any(row["embedding"])
    # An ensemble's are its members', one after the other.
    jobs = [completed(opened, name, pictures, "--embeddings") for name in ("ripe", "riper", "both")]
    one, other, both = (len(opened.sql(statement, id=job)[0][1]) for job in jobs)
    assert both == one + other


@pytest.mark.timeout(240)
def test_a_replaced_model_leaves_running_jobs_theirs(
    yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path
) -> None:
    opened, _ = yard
    # What Keras is to serve is kept once it was prepared for it.
    checked = opened.command("models", "check", "both", CLASSYARD_ENGINE="keras")
    assert checked.code == 0, checked.err
    before = {model: rows(opened, model, pictures) for model in ("ripe", "both")}
    jobs = []
    for model, engine in (("ripe", "litert"), ("both", "litert"), ("both", "keras")):
        done = opened.command("submit", str(pictures), "-m", model, "--queue", engine, "--json")
        jobs.append((int(json.loads(done.out)["job_id"]), model))
    folder = opened.settings.home / "models" / "ripe"
    (folder / "labels.txt").write_text("unripe\nripe\nrotten\n", "utf-8")
    shutil.copy(folder / "labels.txt", folder.parent / "riper")
    # Workers that never saw the old models in memory.
    late = [opened.worker(CLASSYARD_QUEUE=one, CLASSYARD_ENGINE=one) for one in ("litert", "keras")]
    for job, model in jobs:
        assert opened.finish(job, 100) == "completed"
        said = opened.sql(
            "SELECT label, score FROM results WHERE job_id = :id ORDER BY position", id=job
        )
        assert [label for label, _ in said] == [row[1] for row in before[model]]
        assert [score for _, score in said] == pytest.approx(
            [row[2] for row in before[model]], abs=1e-3
        )
    for worker in late:
        worker.stop()
    new, before = rows(opened, "ripe", pictures), before["ripe"]
    renamed = {"green": "unripe"}
    assert [row[1] for row in new] == [renamed.get(row[1], row[1]) for row in before]


def test_a_job_whose_model_is_gone_says_so(
    yard: tuple[Yard, dict[str, list[list[float]]]], pictures: Path
) -> None:
    opened, _ = yard
    done = opened.command("submit", str(pictures), "--model", "beach", "--queue", "gone", "--json")
    job = int(json.loads(done.out)["job_id"])
    home = opened.settings.home
    shutil.rmtree(home / "models" / "beach")
    for file in (home / "converted").iterdir():
        if file.suffix in {".tflite", ".json"}:
            file.unlink()
    worker = opened.worker(
        CLASSYARD_QUEUE="gone", CLASSYARD_MAX_ATTEMPTS="3", CLASSYARD_SWEEP_INTERVAL="1"
    )
    opened.finish(job, 100)
    found = opened.sql("SELECT DISTINCT error_code, error FROM results WHERE job_id = :id", id=job)
    assert {code for code, _ in found} == {"model_unavailable"}
    assert all("model 'beach'" in error for _, error in found), found
    worker.stop()
