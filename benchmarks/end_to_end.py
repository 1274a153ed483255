"""The whole yard (Redis, Celery, SQL included) against a bare loop of the same decode and engine."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.bare import bare_loop
from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures

TARGET = 0.95


def main() -> None:
    """Classify the same files in both, in turns; a job counts from its submission to its end."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    made.add_argument("--images", type=int, default=2000)
    made.add_argument("--pairs", type=int, default=9)
    options = made.parse_args()
    count, pairs = (100, 2) if options.quick else (options.images, options.pairs)
    model = "mobilenet_v2"
    paths = pictures(count)
    models = models_dir(model)
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(options.database, engine="litert", models_dir=models, preload=(model,)) as yard,
        bare_loop(paths, model, yard.desk.settings) as bare,
    ):
        listed = manifest(Path(folder), [str(path) for path in paths])
        turns = in_turns(lambda: yard.rate(listed, model), bare.rate, pairs)
        stages = yard.stages(yard.submit(listed, model))
    what = f"end to end against the bare loop, {model}, {count:,} JPEGs, {options.database}"
    figure = turns.figure(what, TARGET)
    shown = ", ".join(f"{stage} {spent:.2f}" for stage, spent in stages.items())
    conclude(options, [replace(figure, note=f"{figure.note}; ms per image: {shown}")])


if __name__ == "__main__":
    main()
