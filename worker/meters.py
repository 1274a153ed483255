"""The worker's metrics, counted in the process where things happen.

Parent and children each write a file of their own (prometheus-client's multiprocess mode); an
exporter process adds them up (`worker.exporter`). A file is named after the child's slot, not its
process id: the child that replaces a dead one goes on counting in the same file, so that nothing
has to be cleaned up and no counter ever falls.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, Final

from core import metrics
from worker.report import DONE

if TYPE_CHECKING:
    from pathlib import Path

    from broker.sweep import Swept
    from core.metrics import Metric
    from db.workers import WorkerInfo
    from worker.report import ChunkReport

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900)
_IMAGES: Final = (1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 10_000)


class Meters:
    """Counters of one process, in files below `folder`."""

    def __init__(self, folder: Path, slot: str) -> None:
        """Open the files. `slot` is unique among the processes that live; no underscore in it."""
        # The library's own variable, read when a value is created.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # noqa: TID251
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

        values.ValueClass = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()

        def meter(metric: Metric, **further: Any) -> Any:
            kind = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}[metric.kind]
            return kind(metric.name, metric.help, metric.labels, registry=registry, **further)

        self._images = meter(metrics.IMAGES)
        self._reused = meter(metrics.IMAGES_REUSED)
        self._chunks = meter(metrics.CHUNKS)
        self._chunk_seconds = meter(metrics.CHUNK_SECONDS, buckets=_SECONDS)
        self._chunk_images = meter(metrics.CHUNK_IMAGES, buckets=_IMAGES)
        self._stage_seconds = meter(metrics.STAGE_SECONDS)
        self._attempts = meter(metrics.ATTEMPTS)
        self._redeliveries = meter(metrics.REDELIVERIES)
        self._loads = meter(metrics.MODEL_LOADS)
        self._load_seconds = meter(metrics.MODEL_LOAD_SECONDS)
        self._batch_size = meter(metrics.BATCH_SIZE, multiprocess_mode="max")
        self._sweeps = meter(metrics.SWEEPS)
        self._swept = meter(metrics.SWEPT)
        self._children_died = meter(metrics.CHILDREN_DIED)
        self._slots = meter(metrics.SLOTS, multiprocess_mode="max")

    def chunk(self, report: ChunkReport) -> None:
        """Count a message that has ended."""
        work = report.work
        self._chunks.labels(work.ending).inc()
        if report.redelivered:
            self._redeliveries.inc()
        if work.attempts:
            self._attempts.labels("1" if work.attempts > 1 else "0").inc()
        if work.ending != DONE:
            return
        model = work.model
        self._images.labels(model, "ok", "").inc(work.images - work.failed)
        for code, number in work.failures.items():
            self._images.labels(model, "failed", code).inc(number)
        if work.reused:
            self._reused.labels(model).inc(work.reused)
        self._chunk_seconds.labels(model).observe(report.seconds)
        self._chunk_images.labels(model).observe(work.images)
        stages = {"claim": work.claim_seconds, **dataclasses.asdict(work.stages)}
        for stage, seconds in stages.items():
            self._stage_seconds.labels(model, stage).inc(seconds)

    def refused(self) -> None:
        """Count a message that was none of ours."""
        self._chunks.labels("messages_refused").inc()

    def loaded(self, model: str, seconds: float, batch_size: int) -> None:
        """Count a model that was loaded."""
        self._loads.labels(model).inc()
        self._load_seconds.labels(model).inc(seconds)
        self._batch_size.labels(model).set(batch_size)

    def arrived(self, info: WorkerInfo) -> None:
        """Say what this worker offers."""
        self._slots.labels(info.queue, info.engine, info.device).set(info.slots)

    def swept(self, swept: Swept) -> None:
        """Count a sweep and what it found."""
        self._sweeps.inc()
        for what, number in dataclasses.asdict(swept).items():
            if number:
                self._swept.labels(what).inc(number)

    def children_died(self, number: int) -> None:
        """Count children that died at work."""
        self._children_died.inc(number)
