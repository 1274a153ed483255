"""Twenty thousand images through one child: what it weighs at the end against at image 1,000."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.lab import lab, manifest, resident
from benchmarks.measure import Figure, conclude, number, parser, say
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from core.types import JobStatus
from db import queries

TARGET = 1.05
MODEL = "mobilenet_v2"
PATIENCE = 290


def main() -> None:
    """Watch one child through one job; pictures come again, but never twice in a chunk."""
    options = parser(__doc__).parse_args()
    count, early = (400, 100) if options.quick else (20_000, 1000)
    models = models_dir(MODEL)
    paths = [str(path) for path in pictures(min(count, 1000))]
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(engine="litert", models_dir=models, preload=(MODEL,), concurrency=1) as yard,
    ):
        listed = manifest(Path(folder), (paths * (count // len(paths)))[:count])
        (child,) = yard.children()
        job = yard.submit(listed, MODEL)
        deadline = time.monotonic() + PATIENCE
        first = 0
        while not (now := yard.desk.database.read(queries.progress, job)).status.terminal:
            if not first and now.done >= early:
                first = resident(child)
                say(f"{number(first / 2**20)} MiB at image {now.done:,}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{now.done:,} of {count:,} images in {PATIENCE} s")
            time.sleep(0.5)
        if now.status != JobStatus.COMPLETED or yard.children() != [child]:
            raise RuntimeError(f"not one child to the end: {yard.service}")
        last = resident(child)
    note = f"{number(last / 2**20)} MiB at the end; {number(now.rate)} images/s"
    conclude(options, [
        Figure(f"{count:,} images in one child: memory at the end / at image {early:,}",
               last / first, "x", TARGET, more_is_better=False, spread="n=1", note=note),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
