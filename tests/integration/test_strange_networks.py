"""Networks as users bring them: whatever their shape, type or file, the scores are plain Keras's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KERAS = [
    "channels first", "gray, not square", "bgr, mean, std", "batch of one", "batch of three",
    "named outputs", "numbered outputs", "one logit", "multi-label logits", "float16",
    "mixed float16", "batch norm", "scales three times", "takes uint8", "free size, 1x1 answer",
    "nested", "SavedModel", "SavedModel, own signature", "SavedModel, embedding",
    "embedding", "embedding of a Sequential", "embedding of a named layer", "embedding beside outputs", "mirrored too",
]  # fmt: skip
TFLITE = [
    "tflite",
    "tflite, channels first",
    "tflite, two outputs",
    "tflite, embedding",
    "tflite, int8",
    "tflite, uint8",
]

#: 16-bit networks are served in 32 bits on CPUs, quantised ones have steps of 1/256.
TOLERANCE = {"float16": 1e-3, "mixed float16": 1e-3, "tflite, int8": 0.01, "tflite, uint8": 0.01}

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name("strange_networks.py"),
            tmp_path_factory.mktemp("strange"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {*KERAS, *TFLITE}
    return found


@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, engine) for name in KERAS for engine in ("litert", "openvino", "keras")]
    + [(name, "litert") for name in TFLITE],
)
def test_scores_are_those_of_plain_keras(
    answers: dict[str, dict[str, Any]], name: str, engine: str
) -> None:
    tolerance = TOLERANCE.get(name, 1e-5)
    assert answers[name]["spread"] > max(tolerance, 1e-3)  # or any answer would do
    difference = answers[name][engine]
    assert isinstance(difference, float), difference
    assert difference < tolerance
