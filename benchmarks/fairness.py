"""Does a small job wait for a large one? 50 images alone, and while 100,000 are being classified.

`python -m benchmarks.fairness`; exit code 1 if the target is missed. The images are stubs that take
as long as MobileNetV2 does on one core, so the figure is about queueing and not about the machine.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import Lab, lab, manifest
from producer import steer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Target: a small job beside a large one takes less than this many times its time alone.
TARGET = 10.0
SMALL, LARGE = 50, 100_000
SECONDS_PER_IMAGE = 0.012
ROUNDS = 5


def uris(name: str, count: int) -> list[str]:
    """Return URIs that all differ, of images that take their time."""
    return [f"stub://sleep/{SECONDS_PER_IMAGE}/{name}-{number}" for number in range(count)]


def small_jobs(opened: Lab, folder: Path, name: str) -> Iterator[float]:
    """Yield the seconds of small jobs, one after the other: submission to last commit."""
    for number in range(ROUNDS):
        job = opened.submit(manifest(folder, uris(f"{name}{number}", SMALL)))
        ended = opened.finish(job)
        assert ended.finished_at is not None
        yield (ended.finished_at - ended.created_at).total_seconds()
        time.sleep(1)


def main() -> None:
    """Measure, print, judge."""
    with (
        lab(engine="stub", concurrency=2) as opened,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        opened.finish(opened.submit(manifest(folder, uris("first", 400))))  # its speed is known now
        alone = sorted(small_jobs(opened, folder, "alone"))
        large = opened.submit(manifest(folder, uris("large", LARGE)))
        time.sleep(5)
        beside = sorted(small_jobs(opened, folder, "beside"))
        steer.cancel(opened.desk.database, large)
    one, many = statistics.median(alone), statistics.median(beside)
    print(
        f"{SMALL} images alone:              {one:.2f} s (n={ROUNDS}, {alone[0]:.2f}-{alone[-1]:.2f})"
    )
    print(
        f"{SMALL} images beside {LARGE:,}:   {many:.2f} s (n={ROUNDS}, {beside[0]:.2f}-{beside[-1]:.2f})"
    )
    worst = beside[-1] / one
    print(f"median {many / one:.1f} x, worst {worst:.1f} x; target: < {TARGET:.0f} x")
    sys.exit(worst >= TARGET)


if __name__ == "__main__":
    main()
