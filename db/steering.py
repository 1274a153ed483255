"""The desk's verbs on a job under way: cancel, pause, resume, stop it for its errors.

Each begins with one guarded UPDATE of the job: from its commit on nothing of the job is sent or
claimed. Its chunks follow in bounded slices; what a killed command leaves, the sweep does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, exists, func, select, update

from core.errorlimit import parse_error_limit
from core.errors import JobStatusError, NoSuchJobError
from core.types import ChunkStatus, JobStatus
from db import notices
from db.clock import now
from db.models import ACTIVE, Chunk, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

#: Chunks ended in one transaction.
SLICE = 2000
#: Jobs that can be stopped.
STOPPABLE = (*ACTIVE, JobStatus.PAUSED)
#: Jobs that were stopped, and their chunks that never start.
STOPPED = (JobStatus.CANCELLED, JobStatus.FAILED)
UNSENT = (ChunkStatus.PENDING, ChunkStatus.QUEUED)


def cancel(connection: Connection, job_id: int) -> None:
    """Stop a job for good. Its running chunks finish; `end_unsent` ends the others.

    Raises:
        NoSuchJobError, JobStatusError: if there is nothing to cancel.
    """
    move(connection, job_id, STOPPABLE, status=JobStatus.CANCELLED, finished_at=now())
    notices.write(connection, job_id)


def pause(connection: Connection, job_id: int) -> None:
    """Stop a job until it is resumed. Its running chunks finish.

    Raises:
        NoSuchJobError, JobStatusError: if it neither waits nor runs.
    """
    move(connection, job_id, ACTIVE, status=JobStatus.PAUSED)
    _recall(connection, job_id)


def resume(connection: Connection, job_id: int) -> None:
    """Let a paused job go on; its window must be filled afterwards.

    Raises:
        NoSuchJobError, JobStatusError: if it is not paused.
    """
    move(connection, job_id, (JobStatus.PAUSED,), status=under_way())
    # Workers have dropped the messages of a paused job: its queued chunks must be sent again.
    _recall(connection, job_id)


def end_unsent(connection: Connection, job_id: int) -> int:
    """End up to `SLICE` waiting chunks of a job that was stopped; return how many there were.

    A chunk of a retry leaves its images failed as they were; any other is cancelled.
    """
    stopped = exists().where(Job.id == job_id, Job.status.in_(STOPPED))
    chosen = (
        select(Chunk.id)
        .where(Chunk.job_id == job_id, Chunk.status.in_(UNSENT), stopped)
        .limit(SLICE)
        .with_for_update(skip_locked=True)
    )
    ended = connection.execute(
        update(Chunk)
        .where(Chunk.id.in_(chosen.scalar_subquery()), Chunk.status.in_(UNSENT))
        .values(
            status=case((Chunk.retry, ChunkStatus.DONE), else_=ChunkStatus.CANCELLED),
            failed=case((Chunk.retry, Chunk.size), else_=0),
            finished_at=now(),
        )
    )
    return ended.rowcount


def too_many_errors(connection: Connection, job_id: int, limit: str | None) -> str | None:
    """Say that more images of a job failed than `limit` tolerates, if so. Only reads."""
    if limit is None:
        return None
    failed, done = connection.execute(
        # Done chunks only: the others hold their URIs, which cost much to step over.
        select(
            func.coalesce(func.sum(Chunk.failed), 0),
            func.coalesce(func.sum(Chunk.ok + Chunk.failed), 0),
        ).where(Chunk.job_id == job_id, Chunk.status == ChunkStatus.DONE)
    ).one()
    if not parse_error_limit(limit).exceeded(failed, done):
        return None
    return f"stopped: {failed} of {done} images failed, --max-errors is {limit}"


def stop_if_failing(connection: Connection, job_id: int, limit: str | None) -> bool:
    """Stop a job of which more images failed than `limit` tolerates; True if this call did."""
    why = too_many_errors(connection, job_id, limit)
    if why is None:
        return False
    stopped = connection.execute(
        update(Job)
        .where(Job.id == job_id, Job.status.in_(ACTIVE))
        .values(status=JobStatus.FAILED, error=why, finished_at=now())
    )
    if stopped.rowcount:
        notices.write(connection, job_id)
    return stopped.rowcount == 1


def error_limits(connection: Connection) -> list[tuple[int, str]]:
    """Return the active jobs that tolerate only so many errors, with their limits."""
    rows = connection.execute(select(Job.id, Job.options).where(Job.status.in_(ACTIVE)))
    return [(row.id, row.options["max_errors"]) for row in rows if row.options.get("max_errors")]


def _recall(connection: Connection, job_id: int) -> None:
    """Take a window's chunks back from Redis: their messages, if still there, find nothing to do."""
    connection.execute(
        update(Chunk)
        .where(Chunk.job_id == job_id, Chunk.status == ChunkStatus.QUEUED)
        .values(status=ChunkStatus.PENDING, queued_at=None)
    )


def under_way() -> ColumnElement[Any]:
    """Return the status of a job that is not stopped and has not ended."""
    return case((Job.started_at.is_(None), JobStatus.QUEUED), else_=JobStatus.RUNNING)


def move(connection: Connection, job_id: int, allowed: Sequence[JobStatus], **values: Any) -> None:
    """Change a job whose status is one of `allowed`, or say why not."""
    moved = connection.execute(
        update(Job).where(Job.id == job_id, Job.status.in_(allowed)).values(**values)
    )
    if moved.rowcount:
        return
    status = connection.execute(select(Job.status).where(Job.id == job_id)).scalar_one_or_none()
    if status is None:
        raise NoSuchJobError(f"no job {job_id}: 'classyard jobs' lists them")
    raise JobStatusError(f"job {job_id} is {status}: {_ADVICE[JobStatus(status)]}")


_ADVICE = {
    JobStatus.SUBMITTING: "wait for its submission, or interrupt it",
    JobStatus.QUEUED: "it is not paused",
    JobStatus.RUNNING: "it is not paused",
    JobStatus.PAUSED: "'classyard resume' lets it go on",
    JobStatus.COMPLETED: "it has ended, and no image failed",
    JobStatus.COMPLETED_WITH_ERRORS: "it has ended; 'classyard retry' runs failed images again",
    JobStatus.FAILED: "it has ended; 'classyard retry' runs failed images again",
    JobStatus.CANCELLED: "it has ended; 'classyard retry' runs failed images again",
}
