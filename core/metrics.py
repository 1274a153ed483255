"""Every metric that Classyard exports: name, kind, labels and meaning, in one table.

Label values are bounded: words of ours, or names that an operator chose (models, queues, hosts).
`tools/metrics_table.py` writes docs/metrics.md from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """What one metric is called, what its labels are, and what it says."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus stores it."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


# Of a worker: what it did since it started.
IMAGES: Final = Metric(
    "classyard_images", "counter", "Images recorded; code is empty for ok ones",
    ("model", "status", "code"),
)  # fmt: skip
IMAGES_REUSED: Final = Metric(
    "classyard_images_reused", "counter", "Images answered from rows that were there", ("model",)
)
CHUNKS: Final = Metric(
    "classyard_chunks", "counter",
    "Messages by how they ended: done, handed_back (a failure of the chunk), stopped (the worker was "
    "told to stop), discarded (another worker had finished the chunk), duplicates_dropped, "
    "stopped_dropped (the job is paused or ended), messages_refused",
    ("ending",),
)  # fmt: skip
CHUNK_SECONDS: Final = Metric(
    "classyard_chunk_seconds", "histogram", "Seconds from claim to commit of a chunk", ("model",)
)
CHUNK_IMAGES: Final = Metric(
    "classyard_chunk_images", "histogram", "Images in a chunk that was done", ("model",)
)
STAGE_SECONDS: Final = Metric(
    "classyard_stage_seconds", "counter",
    "Seconds in a stage: claim, fetch, decode, predict, record. Divided by the images: seconds per image",
    ("model", "stage"),
)  # fmt: skip
ATTEMPTS: Final = Metric(
    "classyard_attempts", "counter", "Claims of chunks; again is 1 if the chunk was tried before",
    ("again",),
)  # fmt: skip
REDELIVERIES: Final = Metric(
    "classyard_redeliveries", "counter", "Messages that Redis delivered again"
)
MODEL_LOADS: Final = Metric(
    "classyard_model_loads", "counter", "Models loaded into a child", ("model",)
)
MODEL_LOAD_SECONDS: Final = Metric(
    "classyard_model_load_seconds", "counter", "Seconds spent loading models", ("model",)
)
BATCH_SIZE: Final = Metric(
    "classyard_batch_size", "gauge", "Most images in one model call", ("model",)
)
SWEEPS: Final = Metric("classyard_sweeps", "counter", "Sweeps made by this worker's parent")
SWEPT: Final = Metric(
    "classyard_swept", "counter",
    "What sweeps found: dead (chunks of silent workers), lost (messages), resolved (chunks split or "
    "given up), cancelled, sent (chunks), closed, discarded (jobs)",
    ("what",),
)  # fmt: skip
CHILDREN_DIED: Final = Metric(
    "classyard_children_died", "counter", "Children that died while they held a chunk"
)
SLOTS: Final = Metric(
    "classyard_worker_slots", "gauge", "Chunks that this worker can hold at once",
    ("queue", "engine", "device"),
)  # fmt: skip

WORKER_METRICS: Final = (
    IMAGES, IMAGES_REUSED, CHUNKS, CHUNK_SECONDS, CHUNK_IMAGES, STAGE_SECONDS, ATTEMPTS,
    REDELIVERIES, MODEL_LOADS, MODEL_LOAD_SECONDS, BATCH_SIZE, SWEEPS, SWEPT, CHILDREN_DIED, SLOTS,
)  # fmt: skip

# Of the yard: what SQL and Redis say now.
ANSWERS: Final = Metric(
    "classyard_answers", "gauge", "1 if the server answered the last look: database, redis",
    ("server",),
)  # fmt: skip
QUEUE_DEPTH: Final = Metric(
    "classyard_queue_depth", "gauge", "Messages that wait in Redis", ("queue", "priority")
)
WINDOW: Final = Metric(
    "classyard_window", "gauge", "Chunks of one job that may be in Redis or in workers' hands",
    ("queue",),
)  # fmt: skip
YARD_SLOTS: Final = Metric(
    "classyard_slots", "gauge", "Chunks that the live workers can hold at once", ("queue",)
)
WORKERS: Final = Metric("classyard_workers", "gauge", "Workers that live", ("queue", "engine"))
WORKER_RATE: Final = Metric(
    "classyard_worker_images_per_second", "gauge",
    "Images per second of each live worker, over the last minute; worker is host:pid", ("worker",),
)  # fmt: skip
JOBS: Final = Metric("classyard_jobs", "gauge", "Jobs by status", ("status",))
OPEN_CHUNKS: Final = Metric(
    "classyard_open_chunks", "gauge", "Chunks of jobs under way: pending, queued, running",
    ("queue", "status"),
)  # fmt: skip
OPEN_IMAGES: Final = Metric(
    "classyard_open_images", "gauge", "Images of those chunks", ("queue", "status")
)
IDLE_SECONDS: Final = Metric(
    "classyard_idle_seconds", "gauge",
    "Seconds since a chunk was last sent, claimed or finished, if chunks wait or run; else 0",
)  # fmt: skip
EVENTS: Final = Metric(
    "classyard_events", "counter",
    "Rare events of all workers, kept in SQL: chunks_swept, commits_discarded, duplicates_dropped, "
    "images_reused, messages_refused, stopped_dropped", ("event",),
)  # fmt: skip

YARD_METRICS: Final = (
    ANSWERS, QUEUE_DEPTH, WINDOW, YARD_SLOTS, WORKERS, WORKER_RATE, JOBS, OPEN_CHUNKS, OPEN_IMAGES,
    IDLE_SECONDS, EVENTS,
)  # fmt: skip
