"""The benchmarks that act in a part of the yard's stead still fit the rest of it."""

from __future__ import annotations

import json
import subprocess
import sys
from math import isfinite
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "script", [("fleet", "--seconds", "2"), ("million", "--database", "sqlite")], ids=lambda s: s[0]
)
def test_a_benchmark_runs(script: tuple[str, ...], tmp_path: Path) -> None:
    figures = tmp_path / "figures.jsonl"
    name, *more = script
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *more, "--quick", "--json", str(figures)],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    values = [json.loads(line)["value"] for line in figures.read_text().splitlines()]
    assert len(values) >= 4
    assert all(isfinite(value) for value in values)
