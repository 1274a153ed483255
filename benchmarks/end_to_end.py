"""The whole yard (Redis, Celery, SQL included) against a bare loop of the same decode and engine."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.bare import bare_loop
from benchmarks.lab import lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures

if TYPE_CHECKING:
    from benchmarks.lab import Lab

TARGET = 0.95
HELD = text("SELECT started_at, finished_at FROM chunks WHERE job_id = :job")


def main() -> None:
    """Classify the same files in both, in turns; a job counts from its submission to its end."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    made.add_argument("--images", type=int, default=2000)
    made.add_argument("--pairs", type=int, default=7)
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
        stages = _stages(yard, yard.submit(listed, model))
    what = f"end to end against the bare loop, {model}, {count:,} JPEGs, {options.database}"
    figure = turns.figure(what, TARGET)
    conclude(options, [replace(figure, note=f"{figure.note}; {stages}")])


def _stages(yard: Lab, job: int) -> str:
    """Say where the time of one image goes, from claim to end of its chunk, in one child."""
    ended = yard.finish(job)
    parts = {
        "fetch": ended.fetch_seconds,
        "decode": ended.decode_seconds,
        "predict": ended.predict_seconds,
        "record": ended.record_seconds,
    }
    held = sum(
        (yard.moment(finished) - yard.moment(started)).total_seconds()
        for started, finished in yard.rows(HELD, job=job)
    )
    # `finished_at` is the moment of the guard, before the rows are written.
    parts["rest"] = max(0.0, held - sum(parts.values()) + parts["record"])
    shown = ", ".join(f"{name} {1000 * spent / ended.total:.2f}" for name, spent in parts.items())
    return f"ms per image: {shown}"


if __name__ == "__main__":
    main()
