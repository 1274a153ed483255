"""What a child tells of its work: one log line per message, metrics, and a trace."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from core.tracing import Tracing
from worker.report import ChunkReport, Work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from worker.message import ChunkMessage
    from worker.meters import Meters

log = logging.getLogger("classyard.worker")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a message came: whether Redis delivered it before, and the trace that it belongs to."""

    redelivered: bool = False
    traceparent: str | None = None


class Telemetry:
    """Writes, counts and traces; metrics and traces only where they are asked for."""

    def __init__(self, meters: Meters | None = None, tracing: Tracing | None = None) -> None:
        self.meters = meters
        self._tracing = tracing or Tracing()

    def span(self, name: str) -> AbstractContextManager[object]:
        """Time a part of the work on the message at hand."""
        return self._tracing.span(name)

    @contextmanager
    def message(self, message: ChunkMessage, delivery: Delivery) -> Iterator[Work]:
        """Tell of a message once it has ended, however that was; yields what to fill in."""
        started = perf_counter()
        work = Work()
        ids = {"classyard.job_id": message.job_id, "classyard.chunk_id": message.chunk_id}
        with self._tracing.consumer("chunk", delivery.traceparent, ids) as span:
            try:
                yield work
            finally:
                report = ChunkReport(
                    message.job_id,
                    message.chunk_id,
                    delivery.redelivered,
                    perf_counter() - started,
                    work,
                )
                span.describe(report.fields())
                self._tell(report, span.trace_id)

    def loaded(self, model: str, seconds: float, batch_size: int) -> None:
        """Tell of a model that was loaded."""
        if self.meters is not None:
            self.meters.loaded(model, seconds, batch_size)
        fields = {"action": "model_loaded", "model": model, "seconds": round(seconds, 3)}
        log.info("loaded model %s in %.2f s", model, seconds, extra=fields)

    def refused(self) -> None:
        """Count a message that was none of ours."""
        if self.meters is not None:
            self.meters.refused()

    def close(self) -> None:
        """Send what is left of the traces."""
        self._tracing.close()

    def _tell(self, report: ChunkReport, trace_id: str) -> None:
        fields = {**report.fields(), "child": os.getpid()}
        if trace_id:
            fields["trace_id"] = trace_id
        cause = report.work.cause
        level = logging.WARNING if cause is not None else logging.INFO
        log.log(level, "%s", report.line(), exc_info=cause, extra=fields)
        if self.meters is not None:
            self.meters.chunk(report)
