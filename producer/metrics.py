"""The yard's metrics: what SQL and Redis say, looked up when somebody asks, at most every few seconds."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import DBAPIError

from broker.app import BROKER_ERRORS, list_key
from core import metrics
from core.errors import ClassyardError
from core.exposition import serve
from core.types import Priority
from db import overview, workers
from db.migrate import require_schema
from db.pace import worker_rates
from producer.yard import open_desk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric as Family

    from core.metrics import Metric
    from core.settings import Settings
    from producer.submit import Desk

#: Seconds for which an answer is given again: many who ask cost no more than one.
FRESH: Final = 5.0


class YardCollector(Collector):
    """Answers Prometheus from SQL and Redis; a server that is away is a metric, not an error."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._until = 0.0
        self._families: list[Family] = []

    def describe(self) -> Iterable[Family]:
        """Return the families without looking them up."""
        return [_family(metric) for metric in metrics.YARD_METRICS]

    def collect(self) -> Iterable[Family]:
        """Return all families as they are now, or were a moment ago."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._families = self._look()
                self._until = time.monotonic() + FRESH
            return self._families

    def _look(self) -> list[Family]:
        answers = _family(metrics.ANSWERS)
        found: list[Family] = [answers]
        queues = {self._desk.settings.queue}
        for server, look, errors in (
            ("database", self._record, (ClassyardError, DBAPIError)),
            ("redis", self._redis, BROKER_ERRORS),
        ):
            try:
                found += look(queues)
            except errors:
                answers.add_metric([server], 0)
            else:
                answers.add_metric([server], 1)
        return found

    def _record(self, queues: set[str]) -> list[Family]:
        """Ask SQL; add the queues it knows to `queues`."""
        read, dead_after = self._desk.database.read, self._desk.settings.dead_after
        require_schema(self._desk.database)
        jobs, chunks, images = map(
            _family, (metrics.JOBS, metrics.OPEN_CHUNKS, metrics.OPEN_IMAGES)
        )
        for status, number in read(overview.jobs_by_status).items():
            jobs.add_metric([status], number)
        for work in read(overview.open_work):
            queues.add(work.queue)
            chunks.add_metric([work.queue, work.status], work.chunks)
            images.add_metric([work.queue, work.status], work.images)
        crowd, slots, window = map(_family, (metrics.WORKERS, metrics.YARD_SLOTS, metrics.WINDOW))
        offered: Counter[str] = Counter()
        for part in read(overview.crowds, dead_after):
            queues.add(part.queue)
            offered[part.queue] += part.slots
            crowd.add_metric([part.queue, part.engine], part.workers)
        for queue in sorted(queues):
            slots.add_metric([queue], offered[queue])
            window.add_metric([queue], read(self._desk.dispatcher.window, queue))
        idle, events = _family(metrics.IDLE_SECONDS), _family(metrics.EVENTS)
        idle.add_metric([], read(overview.idle_seconds))
        for event, number in sorted(read(workers.counters).items()):
            events.add_metric([event], number)
        return [jobs, chunks, images, crowd, slots, window, idle, events, self._rates()]

    def _rates(self) -> Family:
        family = _family(metrics.WORKER_RATE)
        rates = self._desk.database.read(worker_rates)
        live = self._desk.database.read(workers.live_workers, self._desk.settings.dead_after)
        for worker in live:
            name = f"{worker.info.host}:{worker.info.pid}"
            family.add_metric([name], rates.get(worker.info.id, 0.0))
        return family

    def _redis(self, queues: set[str]) -> list[Family]:
        depth = _family(metrics.QUEUE_DEPTH)
        with self._desk.app.connection_for_write() as connection:
            client = connection.default_channel.client
            for queue in sorted(queues):
                for priority in Priority:
                    length = client.llen(list_key(queue, priority))
                    depth.add_metric([queue, priority.name.lower()], length)
        return [depth]


def _family(metric: Metric) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)


def serve_yard(settings: Settings) -> None:
    """Serve the yard's metrics in this process until it is told to stop.

    Raises:
        ClassyardError: if the database is not ours, or the port cannot be had.
    """
    with open_desk(settings, own_redis=False) as desk:
        registry = CollectorRegistry()
        registry.register(YardCollector(desk))
        serve(registry, settings.metrics_address, settings.metrics_port)
