"""What a person sees of one picture on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.terminal import on_a_terminal

if TYPE_CHECKING:
    from tests.support.yard import Yard

DIGIT = Path(__file__).parents[2] / "producer" / "samples" / "digits" / "digit-2-0187.png"


def test_a_picture_stands_beside_its_bars(ready: Yard) -> None:
    environment = ready.environment(TERM="xterm-256color", COLORTERM="truecolor")
    del environment["NO_COLOR"]
    command = [sys.executable, "-m", "producer", "run", str(DIGIT), "-m", "digits", "-k", "10"]
    shown = on_a_terminal(command, environment)
    best = next(line for line in shown.splitlines() if "99.8" in line)
    assert best.index("▀") < best.index("  1  2") < best.index("█")
    assert "Traceback" not in shown
