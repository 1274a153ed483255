"""What everything but pictures and network costs: stub images through Redis and SQL."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.lab import lab, manifest
from benchmarks.measure import Figure, Samples, conclude, parser, say

TARGET = 30_000


def main() -> None:
    """Measure whole jobs, submission included."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    made.add_argument("--chunk-size", type=int, default=0, help="1: what a chunk costs by itself")
    made.add_argument("--images", type=int, default=300_000)
    options = made.parse_args()
    count, jobs = (20_000, 2) if options.quick else (options.images, 5)
    rates = []
    with tempfile.TemporaryDirectory() as folder, lab(options.database, engine="stub") as yard:
        listed = manifest(
            Path(folder), [f"https://pictures.example.org/set/{n:09d}.jpg" for n in range(count)]
        )
        yard.finish(yard.submit(listed))  # the first job of a model has chunks of 128 images
        for _ in range(jobs):
            ended = yard.finish(yard.submit(listed, chunk_size=options.chunk_size))
            rates.append(ended.rate)
            say(f"{ended.rate:,.0f} images/s, {ended.chunks} chunks")
    conclude(
        options,
        [
            Figure(
                f"stub images/s through Redis and SQL, {options.database}",
                Samples(tuple(rates)).middle,
                "images/s",
                TARGET,
                more_is_better=True,
                spread=Samples(tuple(rates)).spread,
            ),
        ],
    )


if __name__ == "__main__":
    main()
