"""What the acceptance tests share: homes in which the real models are ready to be served."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import read_settings
from tests.support.yard import Yard, furnish


@pytest.fixture
def ready(home: Path, converted: Path) -> Yard:
    """A machine of its own: nothing runs, nothing is set but HOME, the digits are ready."""
    furnish(home, converted)
    return Yard(read_settings(home=home, concurrency=2))


def left_over(home: Path) -> list[str]:
    """Return the command lines of processes that belong to a HOME."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"CLASSYARD_HOME={home}".encode() in environment:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
