"""Pictures in an S3-compatible store with 30 ms of latency each, against the same pictures as local files.

The store is a server of our own on loopback that speaks just enough of S3 to be read from: a full
emulator would take more of the machine that is measured than the worker does.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from benchmarks.slowserver import slow_server

TARGET = 0.85
LATENCY = 0.03
MODEL = "mobilenet_v2"
BUCKET = "pictures"


def main() -> None:
    """Classify both ways in one yard, in turns."""
    made = parser(__doc__)
    made.add_argument("--images", type=int, default=1000)
    made.add_argument("--pairs", type=int, default=5)
    options = made.parse_args()
    count, pairs = (64, 1) if options.quick else (options.images, options.pairs)
    models = models_dir(MODEL)
    paths = pictures(count)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, _ = stack.enter_context(slow_server(paths, LATENCY))
        yard = stack.enter_context(
            lab(
                engine="litert", models_dir=models, preload=(MODEL,),
                schemes=("file", "s3"), anonymous=("s3",), s3_endpoint=f"http://127.0.0.1:{port}",
            )
        )  # fmt: skip
        remote = manifest(folder, [f"s3://{BUCKET}/{path.name}" for path in paths])
        local = manifest(folder, [str(path) for path in paths])
        turns = in_turns(lambda: yard.rate(remote, MODEL), lambda: yard.rate(local, MODEL), pairs)
    what = f"S3 with {LATENCY * 1000:.0f} ms latency against local files, {count:,} JPEGs"
    conclude(options, [turns.figure(what, TARGET)])


if __name__ == "__main__":
    main()
