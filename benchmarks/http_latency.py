"""Pictures behind HTTP with 50 ms of latency each, against the same pictures as local files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from benchmarks.slowserver import slow_server

TARGET = 0.85
LATENCY = 0.05
MODEL = "mobilenet_v2"


def main() -> None:
    """Classify both ways in one yard, in turns."""
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=1000)
    made.add_argument("--pairs", type=int, default=5)
    options = made.parse_args()
    count, pairs = (64, 1) if options.quick else (options.images, options.pairs)
    models = models_dir(MODEL)
    paths = pictures(count)
    with (
        tempfile.TemporaryDirectory() as folder,
        slow_server(paths, LATENCY) as (port, uris),
        lab(
            engine="litert", models_dir=models, preload=(MODEL,), allow_nets=("127.0.0.0/8",),
            ports=(str(port),),
        ) as yard,
    ):  # fmt: skip
        remote = manifest(Path(folder), uris)
        local = manifest(Path(folder), [str(path) for path in paths])
        turns = in_turns(lambda: yard.rate(remote, MODEL), lambda: yard.rate(local, MODEL), pairs)
    what = f"HTTP with {LATENCY * 1000:.0f} ms latency against local files, {count:,} JPEGs"
    conclude(options, [turns.figure(what, TARGET)])


if __name__ == "__main__":
    main()
