"""Does a small job wait for a large one? 50 images alone, and while 100,000 are being classified.

The images are stubs that take as long as MobileNetV2 does on one core, so the figure is about queueing
and not about the machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import Lab, lab, manifest
from benchmarks.measure import Figure, Samples, conclude, number, parser
from producer import steer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Target: a small job beside a large one takes less than this many times its time alone.
TARGET = 10.0
SMALL = 50
SECONDS_PER_IMAGE = 0.012


def uris(name: str, count: int) -> list[str]:
    """Return URIs that all differ, of images that take their time."""
    return [f"stub://sleep/{SECONDS_PER_IMAGE}/{name}-{number}" for number in range(count)]


def small_jobs(opened: Lab, folder: Path, name: str, rounds: int) -> Iterator[float]:
    """Yield the seconds of small jobs, one after the other: submission to last commit."""
    for count in range(rounds):
        job = opened.submit(manifest(folder, uris(f"{name}{count}", SMALL)))
        ended = opened.finish(job)
        assert ended.finished_at is not None
        yield (ended.finished_at - ended.created_at).total_seconds()
        time.sleep(1)


def main() -> None:
    """Measure small jobs alone, then beside a large one."""
    options = parser(__doc__).parse_args()
    many, rounds = (10_000, 1) if options.quick else (100_000, 5)
    with (
        lab(engine="stub", concurrency=2) as opened,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        opened.finish(opened.submit(manifest(folder, uris("first", 400))))  # its speed is known now
        alone = Samples(tuple(small_jobs(opened, folder, "alone", rounds)))
        large = opened.submit(manifest(folder, uris("large", many)))
        time.sleep(5)
        beside = Samples(tuple(small_jobs(opened, folder, "beside", rounds)))
        steer.cancel(opened.desk.database, large)
    times = Samples(tuple(seconds / alone.middle for seconds in beside.values))
    conclude(options, [
        Figure(f"{SMALL} images beside {many:,}, against alone", times.middle, "x", TARGET,
               more_is_better=False, spread=times.spread,
               note=f"{number(beside.middle)} against {number(alone.middle)} s"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
