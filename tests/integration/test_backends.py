"""The Keras engine on each of Keras's backends: the same scores, whatever computes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

#: Loads the digits as a worker without a GPU does, and prints the scores of 20 noisy pictures, twice:
#: in one call, and one by one.
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.base import Child
from worker.engines.keras import load_keras
settings = read_settings(home=Path(sys.argv[1]), engine="keras")
engine = load_keras(read_model("digits", settings.models_path), settings, Child())
shape = (20, 32, 32, 1)
pixels = np.random.default_rng(7).integers(0, 256, shape, np.uint8)
alone = [engine.predict(pixels[place : place + 1]) for place in range(20)]
print(json.dumps([engine.predict(pixels).tolist(), np.concatenate(alone).tolist()]))
"""


def scores(backend: str, home: Path) -> np.ndarray:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.array(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.tensorflow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_backends_give_the_same_scores(backend: str, tmp_path: Path) -> None:
    if find_spec(backend) is None and (backend == "torch" or "CI" not in os.environ):
        pytest.skip(f"{backend} is not installed")
    theirs, reference = scores(backend, tmp_path), scores("tensorflow", tmp_path)
    assert theirs.shape == reference.shape == (2, 20, 10)
    assert np.abs(theirs - reference).max() < 1e-5
    assert np.abs(theirs[0] - theirs[1]).max() < 1e-5, "the neighbours in a batch make a difference"
