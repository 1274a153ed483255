"""The whole yard at a glance: what metrics and alerts are made of. Reads only, by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from db.clock import now, seconds_between
from db.models import ACTIVE, OPEN, Chunk, Job, Worker
from db.workers import is_live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class OpenWork:
    """Chunks and images of jobs under way on one queue, in one state."""

    queue: str
    status: str
    chunks: int
    images: int


@dataclass(frozen=True, slots=True)
class Crowd:
    """The live workers of one queue and engine."""

    queue: str
    engine: str
    workers: int
    slots: int


def jobs_by_status(connection: Connection) -> dict[str, int]:
    """Return how many jobs there are in each status."""
    rows = connection.execute(select(Job.status, func.count()).group_by(Job.status))
    return {status: number for status, number in rows}  # noqa: C416 - rows are no pairs to mypy


def open_work(connection: Connection) -> Sequence[OpenWork]:
    """Return what is left to do of the jobs under way."""
    rows = connection.execute(
        select(Job.queue, Chunk.status, func.count(), func.sum(Chunk.size))
        .join(Job, Job.id == Chunk.job_id)
        .where(Job.status.in_(ACTIVE), Chunk.status.in_(OPEN))
        .group_by(Job.queue, Chunk.status)
    )
    return [OpenWork(*row) for row in rows]


def crowds(connection: Connection, dead_after: float) -> Sequence[Crowd]:
    """Return the live workers by queue and engine."""
    rows = connection.execute(
        select(Worker.queue, Worker.engine, func.count(), func.sum(Worker.slots))
        .where(is_live(dead_after))
        .group_by(Worker.queue, Worker.engine)
    )
    return [Crowd(*row) for row in rows]


def idle_seconds(connection: Connection) -> float:
    """Return the seconds since a chunk of a job under way was last sent, claimed or finished.

    0 if nothing of them waits or runs.
    """
    latest = (
        select(
            func.max(func.coalesce(Chunk.finished_at, Chunk.started_at, Chunk.queued_at)).label(
                "at"
            ),
            func.count().filter(Chunk.status.in_(OPEN)).label("open"),
        )
        .where(Chunk.job_id.in_(select(Job.id).where(Job.status.in_(ACTIVE))))
        .subquery()
    )
    row = connection.execute(select(seconds_between(latest.c.at, now()), latest.c.open)).one()
    return max(0.0, float(row[0])) if row[1] and row[0] is not None else 0.0
