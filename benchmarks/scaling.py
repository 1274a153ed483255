"""Two children against one, on the same files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures

TARGET = 1.8
MODEL = "mobilenet_v2"


def main() -> None:
    """Keep both workers up, each with a yard of its own; only one of them has work."""
    options = parser(__doc__).parse_args()
    count, pairs = (64, 1) if options.quick else (1000, 5)
    models = models_dir(MODEL)
    given: dict[str, Any] = {"engine": "litert", "models_dir": models, "preload": (MODEL,)}
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(concurrency=2, **given) as two,
        lab(concurrency=1, **given) as one,
    ):
        listed = manifest(Path(folder), [str(path) for path in pictures(count)])
        turns = in_turns(lambda: two.rate(listed, MODEL), lambda: one.rate(listed, MODEL), pairs)
    conclude(options, [turns.figure(f"two children against one, {count:,} JPEGs", TARGET)])


if __name__ == "__main__":
    main()
