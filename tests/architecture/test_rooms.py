"""The walls between the rooms hold: in the imports, in the processes, and without the worker's parts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
#: What only the worker's machine has.
PIXELS = ("tensorflow", "keras", "numpy", "PIL", "ai_edge_litert", "h5py", "httptools", "flower")

#: Runs the command line in an interpreter that has none of `PIXELS`, nor `worker`.
WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*PIXELS, "worker")!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv[0] = "classyard"
from producer.cli import main
main()
"""


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_desk_loads_no_pixels_and_no_networks() -> None:
    assert not loaded_by("import producer.cli") & {*PIXELS, "worker"}


def test_the_parent_of_the_children_loads_no_network() -> None:
    """A process that forks must not hold TensorFlow's threads."""
    loaded = loaded_by("import worker.app")
    assert "worker" in loaded
    assert not loaded & {"tensorflow", "keras", "ai_edge_litert", "jax", "torch"}


@pytest.fixture
def working_yard(home: Path, broker_url: str) -> Iterator[Yard]:
    settings = read_settings(home=home, broker_url=broker_url, engine="stub", concurrency=1)
    with Yard(settings) as opened:
        opened.worker()
        yield opened


def test_a_producer_needs_nothing_of_the_workers(working_yard: Yard) -> None:
    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, *words], cwd=ROOT, env=working_yard.environment(),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    done = command("submit", "http://a/1.jpg", "http://a/2.jpg", "-m", "digits", "--wait", "--json")
    job = str(json.loads(done)["job_id"])
    assert json.loads(command("jobs", "--json"))[0]["ok"] == 2
    rows = command("results", job, "--format", "jsonl").splitlines()
    assert [json.loads(row)["uri"] for row in rows] == ["http://a/1.jpg", "http://a/2.jpg"]
    assert "completed" in command("status", job)
