"""Reads: where jobs stand. Progress is a sum over chunks, never a counter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from core.errors import NoSuchJobError
from core.types import TERMINAL, ChunkStatus, JobStatus
from db.clock import now, seconds_between
from db.models import OPEN, Chunk, Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands. `total == ok + failed + cancelled + pending`, always (images).

    `running` is the part of `pending` that workers hold, `retrying` the part that failed before.
    Seconds are sums over finished chunks.
    """

    job_id: int
    name: str
    model: str
    fingerprint: str
    status: JobStatus
    error: str | None
    total: int
    ok: int
    failed: int
    cancelled: int
    pending: int
    running: int
    retrying: int
    reused: int
    skipped: int
    chunks: int
    chunks_done: int
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    elapsed: float
    fetch_seconds: float
    decode_seconds: float
    predict_seconds: float
    record_seconds: float

    @property
    def done(self) -> int:
        """Images that have their row."""
        return self.ok + self.failed

    @property
    def rate(self) -> float:
        """Images per second since the first chunk was claimed; 0 before."""
        return self.done / self.elapsed if self.elapsed > 0 else 0.0


def progress(connection: Connection, job_id: int) -> Progress:
    """Return where a job stands.

    Raises:
        NoSuchJobError: if there is no such job.
    """
    job = connection.execute(
        select(
            Job.name, Job.model, Job.model_fingerprint, Job.status, Job.error, Job.total, Job.skipped,
            Job.created_at, Job.started_at, Job.finished_at,
            seconds_between(Job.started_at, func.coalesce(Job.finished_at, now())).label("elapsed"),
        ).where(Job.id == job_id)
    ).one_or_none()  # fmt: skip
    if job is None:
        raise NoSuchJobError(f"no job {job_id}: 'classyard jobs' lists them")
    sums = _chunk_sums(connection, job_id)
    submitting = job.status == JobStatus.SUBMITTING
    return Progress(
        job_id=job_id,
        name=job.name,
        model=job.model,
        fingerprint=job.model_fingerprint,
        status=JobStatus(job.status),
        error=job.error,
        total=sums.size if submitting else job.total,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        elapsed=job.elapsed or 0.0,
        ok=sums.ok,
        failed=sums.failed,
        cancelled=sums.cancelled,
        pending=sums.size - sums.ok - sums.failed - sums.cancelled,
        running=sums.running,
        retrying=sums.retrying,
        reused=sums.reused,
        skipped=job.skipped,
        chunks=sums.chunks,
        chunks_done=sums.chunks_done,
        attempts=sums.attempts,
        fetch_seconds=sums.fetch,
        decode_seconds=sums.decode,
        predict_seconds=sums.predict,
        record_seconds=sums.record,
    )


def _chunk_sums(connection: Connection, job_id: int) -> Row[Any]:
    def images(status: ChunkStatus) -> Any:
        return _sum(func.sum(Chunk.size).filter(Chunk.status == status))

    return connection.execute(
        select(
            _sum(func.sum(Chunk.size)).label("size"),
            _sum(func.sum(Chunk.ok)).label("ok"),
            _sum(func.sum(Chunk.failed)).label("failed"),
            images(ChunkStatus.CANCELLED).label("cancelled"),
            images(ChunkStatus.RUNNING).label("running"),
            _sum(func.sum(Chunk.size).filter(Chunk.retry, Chunk.status.in_(OPEN))).label(
                "retrying"
            ),
            _sum(func.sum(Chunk.reused)).label("reused"),
            func.count().label("chunks"),
            func.count().filter(Chunk.status == ChunkStatus.DONE).label("chunks_done"),
            _sum(func.sum(Chunk.attempts)).label("attempts"),
            _sum(func.sum(Chunk.fetch_seconds)).label("fetch"),
            _sum(func.sum(Chunk.decode_seconds)).label("decode"),
            _sum(func.sum(Chunk.predict_seconds)).label("predict"),
            _sum(func.sum(Chunk.record_seconds)).label("record"),
        ).where(Chunk.job_id == job_id)
    ).one()


def _sum(expression: Any) -> Any:
    return func.coalesce(expression, 0)


def image_seconds(connection: Connection, model: str, fingerprint: str) -> float | None:
    """Return how long one child lately took for one image of a model; None if never seen."""
    recent = (
        select(Chunk.size, seconds_between(Chunk.started_at, Chunk.finished_at).label("seconds"))
        .join(Job, Job.id == Chunk.job_id)
        .where(
            Job.model == model,
            Job.model_fingerprint == fingerprint,
            Chunk.status == ChunkStatus.DONE,
            Chunk.started_at.is_not(None),
        )
        .order_by(Chunk.id.desc())
        .limit(20)
        .subquery()
    )
    size, seconds = connection.execute(
        select(func.sum(recent.c.size), func.sum(recent.c.seconds))
    ).one()
    return max(float(seconds) / size, 1e-6) if size and seconds is not None else None


def job_ids(connection: Connection, limit: int) -> Sequence[int]:
    """Return the newest jobs' ids, newest first."""
    return connection.execute(
        select(Job.id).order_by(Job.id.desc()).limit(limit)
    ).scalars().all()  # fmt: skip


def queue_of(connection: Connection, job_id: int) -> str:
    """Return the queue a job's messages go to."""
    return connection.execute(select(Job.queue).where(Job.id == job_id)).scalar_one()


def last_error(connection: Connection, job_id: int) -> str | None:
    """Return why an unfinished chunk of the job was handed back last, if any was."""
    return connection.execute(
        select(Chunk.error)
        .where(
            Chunk.job_id == job_id, Chunk.status == ChunkStatus.PENDING, Chunk.error.is_not(None)
        )
        .order_by(Chunk.id.desc())
        .limit(1)
    ).scalar_one_or_none()


def top_k(connection: Connection, job_id: int) -> int:
    """Return how many labels per image a job keeps."""
    return connection.execute(select(Job.top_k).where(Job.id == job_id)).scalar_one()


def options(connection: Connection, job_id: int) -> dict[str, Any]:
    """Return the further choices a job was submitted with."""
    chosen = select(Job.options).where(Job.id == job_id)
    return dict(connection.execute(chosen).scalar_one())


def unfinished_fingerprints(connection: Connection) -> Sequence[str]:
    """Return the fingerprints of the models that jobs which have not ended were submitted for."""
    found = select(Job.model_fingerprint).where(Job.status.not_in(TERMINAL)).distinct()
    return connection.execute(found).scalars().all()


def waiting_images(connection: Connection) -> int:
    """Return how many images of all jobs have not ended."""
    total = select(func.coalesce(func.sum(Chunk.size), 0))
    return connection.execute(total.where(Chunk.status.in_(OPEN))).scalar_one()


def standstill(connection: Connection) -> tuple[int, float | None]:
    """Return how many chunks wait or run, and the seconds since a chunk was last finished or sent."""
    waiting = connection.execute(
        select(func.count()).where(Chunk.status.in_((ChunkStatus.QUEUED, ChunkStatus.RUNNING)))
    ).scalar_one()
    latest = select(
        func.max(func.coalesce(Chunk.finished_at, Chunk.started_at, Chunk.queued_at)).label("at")
    ).subquery()
    return waiting, connection.execute(select(seconds_between(latest.c.at, now()))).scalar_one()
