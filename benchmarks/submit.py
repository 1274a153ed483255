"""Submitting a text file of URIs: how fast, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import Lab, desk_only
from benchmarks.measure import Figure, Samples, conclude, number, parser, say

if TYPE_CHECKING:
    from producer.submit import Desk

RATE, MEMORY = 100_000, 300


def main() -> None:
    """Submit a million URIs several times, then ten million once, by the command."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = made.parse_args()
    count, long = (50_000, 100_000) if options.quick else (1_000_000, 10_000_000)
    with tempfile.TemporaryDirectory() as name, desk_only(options.database, engine="stub") as desk:
        listed = _write(Path(name) / "list.txt", count)
        rates = []
        for _ in range(2 if options.quick else 5):
            start = time.perf_counter()
            Lab(desk, None).submit(listed)
            rates.append(count / (time.perf_counter() - start))
            say(f"{number(rates[-1])} URIs/s")
        memory, seconds = _command(desk, _write(listed, long))
    samples = Samples(tuple(rates))
    conclude(options, [
        Figure(f"submit a text file, {options.database}", samples.middle, "URIs/s", RATE,
               more_is_better=True, spread=samples.spread),
        Figure(f"memory to submit {long:,} lines", memory, "MiB", MEMORY,
               more_is_better=False, spread="n=1",
               note=f"{number(seconds)} s for the whole command"),
    ])  # fmt: skip


def _write(path: Path, count: int) -> Path:
    with path.open("w") as file:
        for number_ in range(count):
            file.write(f"https://pictures.example.org/set/{number_:09d}.jpg\n")
    return path


def _command(desk: Desk, listed: Path) -> tuple[float, float]:
    """Return the greatest memory in MiB and the seconds of `classyard submit`."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "producer", "submit", str(listed), "--model", "digits"],
        env=desk.settings.as_environment(),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"classyard submit ended with {process.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


if __name__ == "__main__":
    main()
