"""Twenty thousand images through one child: what it weighs at the end against at image 1,000."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import lab, manifest, resident
from benchmarks.measure import Figure, conclude, number, parser, say
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from benchmarks.workplace import workplace
from core.types import JobStatus
from db import queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGET = 1.05
MODEL = "mobilenet_v2"
PATIENCE = 290


def main() -> None:
    """Watch one child through one job; pictures come again, under other names."""
    options = parser(__doc__).parse_args()
    count, early = (400, 100) if options.quick else (20_000, 1000)
    models = models_dir(MODEL)
    paths = pictures(min(count, 1000))
    with (
        tempfile.TemporaryDirectory(dir=workplace(".")) as folder,
        lab(engine="litert", models_dir=models, preload=(MODEL,), concurrency=1) as yard,
    ):
        listed = manifest(
            Path(folder), list(itertools.islice(_named_anew(paths, Path(folder)), count))
        )
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


def _named_anew(paths: Sequence[Path], folder: Path) -> Iterator[str]:
    """Yield the pictures again and again under new names: a URI that comes again is not computed."""
    for turn in itertools.count():
        for path in paths:
            name = folder / f"{turn}-{path.name}"
            name.hardlink_to(path)
            yield str(name)


if __name__ == "__main__":
    main()
