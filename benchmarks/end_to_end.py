"""The whole yard (Redis, Celery, SQL included) against a bare loop of the same decode and engine.

Both are started several times: where a process's memory happens to lie may make it faster or slower for
as long as it lives. They run in slices, so that both meet the same machine.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bare import bare_loop
from benchmarks.lab import JobRun, lab, manifest
from benchmarks.measure import Pairs, conclude, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from benchmarks.slices import in_slices

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

TARGET = 0.95
MODEL = "mobilenet_v2"
#: Pictures that fill caches and pools, and tell how long one takes.
WARM = 300


def main() -> None:
    """Classify the same files in both; a job counts from its submission to its end."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    made.add_argument("--images", type=int, default=2000)
    made.add_argument("--starts", type=int, default=3, help="how often both are started")
    made.add_argument("--pairs", type=int, default=2, help="pairs of runs after each start")
    options = made.parse_args()
    if options.quick:
        options.images, options.starts, options.pairs = 100, 1, 2
    paths = pictures(options.images)
    measured = [_measure(options, paths) for _ in range(options.starts)]
    turns, stages = Pairs.joined([pairs for pairs, _ in measured]), measured[-1][1]
    what = (
        f"end to end against the bare loop, {MODEL}, {options.images:,} JPEGs, {options.database}"
    )
    figure = turns.figure(what, TARGET)
    shown = ", ".join(f"{stage} {spent:.2f}" for stage, spent in stages.items())
    conclude(options, [replace(figure, note=f"{figure.note}; ms per image: {shown}")])


def _measure(options: argparse.Namespace, paths: Sequence[Path]) -> tuple[Pairs, dict[str, float]]:
    """Start both, measure some pairs, and see where the time of one image went."""
    models = models_dir(MODEL)
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(options.database, engine="litert", models_dir=models, preload=(MODEL,)) as yard,
        bare_loop(paths, MODEL, yard.desk.settings) as bare,
    ):
        listed = manifest(Path(folder), [str(path) for path in paths])
        few = manifest(Path(folder), [str(path) for path in paths[:WARM]])
        yard.rate(few, MODEL)
        bare.warm(WARM)
        turns = in_slices(
            lambda: JobRun(yard, listed, MODEL), lambda: bare, len(paths), options.pairs
        )
        return turns, yard.stages(yard.submit(few, MODEL))


if __name__ == "__main__":
    main()
