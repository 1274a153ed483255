"""The examples work: what `train.py` leaves, `models add` takes, and it names unseen pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.support.yard import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.yard import Yard

COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def draw(folder: Path, color: str, number: int) -> Path:
    """A noisy picture of one colour, of any proportions."""
    random = np.random.default_rng([number, *COLORS[color]])
    size = (int(random.integers(50, 90)), int(random.integers(50, 90)), 3)
    pixels = np.clip(random.normal(COLORS[color], 40, size), 0, 255).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder / f"{number:02}.png"


@pytest.mark.tensorflow
def test_transfer_learning_ends_in_a_model_that_is_served(ready: Yard, tmp_path: Path) -> None:
    for color in COLORS:
        for number in range(20):
            draw(tmp_path / "pictures" / color, color, number)
    script = ROOT / "examples" / "transfer_learning" / "train.py"
    model = tmp_path / "colors"
    words = ["--from-scratch", "--side", "48", "--epochs", "8"]
    done = subprocess.run(
        [sys.executable, script, tmp_path / "pictures", "-o", model, *words],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "100.0% of 12 held-out pictures" in done.stdout

    added = ready.command("models", "add", str(model), "--json", seconds=100)
    assert added.code == 0, added.err
    assert json.loads(added.out)["name"] == "colors"
    fresh = tmp_path / "fresh"
    for color in COLORS:
        draw(fresh / color, color, 77)
    answered = ready.command("run", str(fresh), "--model", "colors")
    assert answered.code == 0, answered.err
    lines = ready.command("results", "1", "--format", "jsonl").out.splitlines()
    said = [(row["uri"], row["label"]) for row in map(json.loads, lines)]
    assert [label for _, label in said] == ["blue", "green", "red"]
    assert all(f"/{label}/" in uri for uri, label in said)
