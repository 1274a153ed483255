"""What the acceptance tests share: homes in which the real models are ready to be served."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.settings import read_settings
from tests.support.yard import Yard, furnish


@pytest.fixture
def ready(home: Path, converted: Path) -> Yard:
    """A machine of its own: nothing runs, nothing is set but HOME, the digits are ready."""
    furnish(home, converted)
    return Yard(read_settings(home=home, concurrency=2))


def left_over(home: Path, patience: float = 15) -> list[str]:
    """Return the command lines of a HOME's processes that are still there when patience is over.

    The guard of the embedded Redis ends a moment after its last user, on purpose.
    """
    deadline = time.monotonic() + patience
    while (found := _processes(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _processes(home: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"CLASSYARD_HOME={home}".encode() in environment:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
