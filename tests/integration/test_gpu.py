"""The Keras engine on a real NVIDIA GPU: passed over where there is none (CI's machines have none).

KERAS_BACKEND=jax pytest tests/integration/test_gpu.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.gpus import usable_gpus

ROOT = Path(__file__).parents[2]

#: One layer whose answers take 12.6 MB of memory per image. Prints how many images the calls
#: in flight take together, and the scores of a hundred.
PROGRAM = """
import json, os, sys
from pathlib import Path
home, wanted, share = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = share
if os.environ["KERAS_BACKEND"] == "torch":
    import torch
    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(float(share))
import keras, numpy as np
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.base import Child
from worker.engines.keras import load_keras

folder = home / "models" / "wide"
if not folder.exists():
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(3)
    layers = keras.layers
    keras.Sequential([
        keras.Input((224, 224, 3)), layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(9),
        layers.Conv2D(8, 3, strides=3), layers.Flatten(), layers.Dense(4, activation="softmax"),
    ]).save(folder / "model.keras")
    (folder / "labels.txt").write_text("a\\nb\\nc\\nd\\n")
    (folder / "model.toml").write_text(
        '[input]\\nheight = 224\\nwidth = 224\\npreprocessing = "unit"\\n[output]\\nactivation = "softmax"\\n')
settings = read_settings(home=home, models_dir=home / "models", engine="keras", batch_size=wanted)
engine = load_keras(read_model("wide", home / "models"), settings, Child())
pixels = np.random.default_rng(1).integers(0, 256, (100, 224, 224, 3), np.uint8)
scores = engine.predict(pixels)
print(json.dumps({"together": engine.batch_size, "scores": scores.tolist()}))
"""


def answer(backend: str, home: Path, wanted: int, share: float, **more: str) -> dict[str, Any]:
    """Score a hundred images in calls of `wanted` with `share` of the GPU's memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), str(wanted), str(share)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": _path(), "KERAS_BACKEND": backend, **more},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _path() -> str:
    return os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


def need_gpu(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    if not usable_gpus():
        pytest.skip(f"no GPU that {backend} can use")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_calls_shrink_until_they_fit_into_the_gpu_and_stay_so(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gpu(backend, monkeypatch)
    scarce = answer(backend, tmp_path, 1024, 0.05)
    assert 1 < scarce["together"] < 2048
    assert scarce["together"] * 12.6e6 > 100e6, "it shrank further than it had to"
    kept = [json.loads(path.read_text()) for path in (tmp_path / "batch-sizes").glob("*.json")]
    assert kept == [{"batch_size": scarce["together"] // 2}]
    again = answer(backend, tmp_path, 1024, 0.9)
    assert again["together"] == scarce["together"], "a new child forgot what fits"
    assert apart(scarce, again) < 1e-5


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_gpu_and_a_processor_give_the_same_scores(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gpu(backend, monkeypatch)
    gpu = answer(backend, tmp_path, 32, 0.5)
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    assert apart(gpu, answer(backend, tmp_path, 8, 0.5, **hidden)) < 1e-3


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the greatest difference between two scores of the same image and class."""
    pairs = zip(one["scores"], other["scores"], strict=True)
    return max(
        abs(float(a) - float(b)) for left, right in pairs for a, b in zip(left, right, strict=True)
    )
