"""Prune: delete ended jobs with all that belongs to them, a slice at a time; never anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, func, select, update

from core.types import TERMINAL, JobStatus
from db.models import OPEN, Chunk, Embedding, Job, Notice, Result

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

#: Rows deleted in one transaction, so that no worker waits long for the lock.
SLICE: Final = 5000
#: What a job says of itself between the first slice and the last.
PARTLY: Final = "being pruned: its results are no longer whole"

#: What belongs to a job, and the column that tells the rows of one job apart.
_PARTS: Final = (
    (Embedding, Embedding.position),
    (Result, Result.position),
    (Chunk, Chunk.id),
    (Notice, Notice.id),
)


@dataclass(frozen=True, slots=True)
class OldJob:
    """A job that ended long ago. Results and chunks are what is there to delete."""

    job_id: int
    name: str
    status: JobStatus
    finished_at: datetime
    results: int
    chunks: int


def old_jobs(connection: Connection, before: datetime) -> list[OldJob]:
    """Return the jobs that ended before a moment, oldest first."""
    rows = connection.execute(
        select(
            Job.id, Job.name, Job.status, Job.finished_at,
            _count(Result.job_id).label("results"), _count(Chunk.job_id).label("chunks"),
        ).where(_is_old(before)).order_by(Job.finished_at, Job.id)
    )  # fmt: skip
    return [
        OldJob(r.id, r.name, JobStatus(r.status), r.finished_at, r.results, r.chunks) for r in rows
    ]


def prune_slice(connection: Connection, job_id: int, before: datetime) -> bool:
    """Delete a slice of an old job; True once there is nothing left to delete.

    The job's own row goes last, so that a prune that was interrupted finds the job again.
    """
    # First the job's row, under its lock: a job that was retried meanwhile is no longer ours.
    marked = connection.execute(
        update(Job).where(Job.id == job_id, _is_old(before)).values(error=PARTLY)
    )
    if marked.rowcount == 0:
        return True
    for table, key in _PARTS:
        doomed = select(key).where(table.job_id == job_id).order_by(key).limit(SLICE)
        gone = connection.execute(
            delete(table).where(table.job_id == job_id, key.in_(doomed.scalar_subquery()))
        )
        if gone.rowcount:
            return False
    connection.execute(delete(Job).where(Job.id == job_id))
    return True


def _is_old(before: datetime) -> ColumnElement[bool]:
    # A cancelled job may still have a chunk at a worker: it is let alone until that has ended.
    held = exists().where(Chunk.job_id == Job.id, Chunk.status.in_(OPEN))
    return and_(Job.status.in_(TERMINAL), Job.finished_at < before, ~held)


def _count(job_id: Any) -> Any:
    return select(func.count()).where(job_id == Job.id).scalar_subquery()
