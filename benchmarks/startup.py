"""From starting a worker whose model is cached to its first answer, and what a child weighs then."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from benchmarks.lab import Lab, desk_only, manifest, resident
from benchmarks.measure import Figure, Samples, conclude, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from core.modelspec import read_model
from core.prepare import prepare_model
from producer.yard import wait_for_worker, worker_service

SECONDS, MEMORY = 2.5, 250
MODEL = "mobilenet_v2"
FIRST = text("SELECT min(started_at) FROM chunks WHERE job_id = :job")


def main() -> None:
    """Let a job wait for the worker; its first chunk is claimed when the worker is ready for it."""
    options = parser(__doc__).parse_args()
    models = models_dir(MODEL)
    paths = [str(path) for path in pictures(64)]
    ready: list[float] = []
    memory: list[float] = []
    with (
        tempfile.TemporaryDirectory() as name,
        desk_only(engine="litert", models_dir=models) as desk,
    ):
        prepare_model(read_model(MODEL, models), desk.settings)
        settings = desk.settings.model_copy(update={"preload": (MODEL,)})
        # `as_environment` hands on what was set; a copy does not mark its changes.
        settings.model_fields_set.add("preload")
        for _ in range(2 if options.quick else 5):
            service = worker_service(settings)
            yard = Lab(desk, service)
            job = yard.submit(manifest(Path(name), paths), MODEL, chunk_size=16)
            start = datetime.now(UTC)
            service.start()
            try:
                wait_for_worker(desk, service)
                yard.finish(job)
                memory.extend(resident(child) / 2**20 for child in yard.children())
            finally:
                service.stop()
            first = yard.moment(yard.rows(FIRST, job=job)[0][0])
            ready.append((first - start).total_seconds())
            time.sleep(0.5)
    seconds, weight = Samples(tuple(ready)), Samples(tuple(memory))
    conclude(options, [
        Figure("worker started, model loaded, first chunk begun", seconds.middle, "s", SECONDS,
               more_is_better=False, spread=seconds.spread),
        Figure("memory of a child", weight.middle, "MiB", MEMORY, more_is_better=False,
               spread=weight.spread, note="resident, shared pages counted in full"),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
