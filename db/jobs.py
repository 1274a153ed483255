"""The desk's verbs on a job: create it, fill it, seal it, close it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, exists, func, insert, or_, select, true, update

from core.errors import UsageError
from core.types import ChunkStatus, JobStatus, Priority, printable
from db import notices
from db.bulk import insert_rows
from db.clock import now, seconds_between, seconds_from_now
from db.models import ACTIVE, OPEN, Chunk, Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Table

CHUNKS: Table = Chunk.__table__  # type: ignore[assignment]
#: Rows deleted in one transaction, so that no one waits long for the lock.
SLICE = 1000


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a submission asks for. `options` holds the allowed file roots and other choices."""

    name: str
    model: str
    fingerprint: str
    queue: str
    top_k: int
    priority: Priority = Priority.NORMAL
    key: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def named(
        self, name: str | None, *, key: str | None, priority: Priority = Priority.NORMAL
    ) -> JobRequest:
        """Return the request with the submitter's own name, key and priority.

        Raises:
            UsageError: if the key holds a control character, which databases and terminals mind.
        """
        if key is not None and not key.isprintable():
            raise UsageError("a key may hold no control characters")
        return replace(self, name=printable(name or "") or self.name, key=key, priority=priority)


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to be: consecutive positions from `first_position`; JSON already encoded."""

    seq: int
    size: int
    first_position: int
    uris_json: str
    extra_json: str | None
    digest: str


def create(connection: Connection, request: JobRequest) -> int:
    """Insert a job that is being submitted; workers do not see it yet. Returns its id."""
    return connection.execute(
        insert(Job)
        .values(
            name=request.name,
            key=request.key,
            model=request.model,
            model_fingerprint=request.fingerprint,
            queue=request.queue,
            priority=int(request.priority),
            top_k=request.top_k,
            options=request.options,
            status=JobStatus.SUBMITTING,
            total=0,
            chunks=0,
            created_at=now(),
            touched_at=now(),
        )
        .returning(Job.id)
    ).scalar_one()


def find_key(connection: Connection, key: str) -> tuple[int, JobStatus] | None:
    """Return id and status of the job submitted under `key`."""
    row = connection.execute(select(Job.id, Job.status).where(Job.key == key)).one_or_none()
    return None if row is None else (row.id, JobStatus(row.status))


def silence(connection: Connection, job_id: int) -> float:
    """Return the seconds since a job being submitted was last written to; 0 if it is gone."""
    since = select(seconds_between(Job.touched_at, now())).where(Job.id == job_id)
    return connection.execute(since).scalar_one_or_none() or 0.0


def add_chunks(connection: Connection, job_id: int, chunks: Sequence[NewChunk]) -> bool:
    """Insert chunks of a job being submitted; False if it no longer is (taken for abandoned)."""
    touched = connection.execute(
        update(Job).where(_being_submitted(job_id)).values(touched_at=now())
    )
    if touched.rowcount == 0 or not chunks:
        return touched.rowcount == 1
    there = exists().where(
        Chunk.job_id == job_id, Chunk.status == ChunkStatus.PENDING, Chunk.seq == chunks[0].seq
    )
    if connection.execute(select(there)).scalar_one():
        return True  # our own: the outcome of a first COMMIT was unknown
    columns = [
        CHUNKS.c.job_id, CHUNKS.c.seq, CHUNKS.c.size, CHUNKS.c.first_position, CHUNKS.c.uris,
        CHUNKS.c.extra, CHUNKS.c.digest, CHUNKS.c.status, CHUNKS.c.attempts, CHUNKS.c.ok,
        CHUNKS.c.failed,
    ]  # fmt: skip
    insert_rows(
        connection,
        CHUNKS,
        [
            (
                job_id, chunk.seq, chunk.size, chunk.first_position, chunk.uris_json,
                chunk.extra_json, chunk.digest, ChunkStatus.PENDING.value, 0, 0, 0,
            )
            for chunk in chunks
        ],
        columns,
    )  # fmt: skip
    return True


def seal(connection: Connection, job_id: int, total: int, chunks: int, skipped: int = 0) -> bool:
    """Make a wholly submitted job visible to workers; False if it was taken for abandoned."""
    sealed = connection.execute(
        update(Job)
        .where(_being_submitted(job_id))
        .values(
            status=JobStatus.QUEUED,
            total=total,
            chunks=chunks,
            skipped=skipped,
            touched_at=now(),
        )
    )
    if sealed.rowcount:
        return True
    # Only we seal it: a job that is past its submission is one whose first COMMIT had succeeded.
    ours = exists().where(Job.id == job_id, Job.status != JobStatus.SUBMITTING)
    return bool(connection.execute(select(ours)).scalar_one())


def give_up(connection: Connection, job_id: int, idle_seconds: float | None = None) -> bool:
    """Bar the submitter of a half-submitted job, which may then be discarded; False if it is whole.

    With `idle_seconds` only if it went silent for so long: it may have just woken up.
    """
    silent = Job.touched_at < seconds_from_now(-idle_seconds) if idle_seconds else true()
    barred = connection.execute(
        update(Job)
        .where(
            Job.id == job_id,
            Job.status == JobStatus.SUBMITTING,
            or_(silent, Job.error.is_not(None)),
        )
        .values(error="given up while it was being submitted", key=None)
    )
    return barred.rowcount == 1


def discard_slice(connection: Connection, job_id: int) -> bool:
    """Delete a slice of a job that was given up; True once the job itself is gone."""
    doomed = select(Chunk.id).where(Chunk.job_id == job_id).limit(SLICE)
    gone = connection.execute(delete(Chunk).where(Chunk.id.in_(doomed.scalar_subquery())))
    if gone.rowcount:
        return False
    connection.execute(delete(Job).where(Job.id == job_id, Job.status == JobStatus.SUBMITTING))
    return True


def abandoned(connection: Connection, idle_seconds: float) -> Sequence[int]:
    """Return the jobs whose submitter went silent half-way."""
    return (
        connection.execute(
            select(Job.id).where(
                Job.status == JobStatus.SUBMITTING,
                Job.touched_at < seconds_from_now(-idle_seconds),
            )
        )
        .scalars()
        .all()
    )


def _being_submitted(job_id: int) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.status == JobStatus.SUBMITTING, Job.error.is_(None))


def close_if_done(connection: Connection, job_id: int) -> bool:
    """Close an active job without open chunks; True if this call closed it.

    To be run after the last chunk's transaction has committed: two workers that finish the last
    two chunks at once do not see each other before. A paused job whose running chunks were its
    last closes as well.
    """
    # The lock comes first and alone: an UPDATE that waited here for a retry would not see its chunk.
    open_job = select(Job.id).where(Job.id == job_id, Job.status.in_((*ACTIVE, JobStatus.PAUSED)))
    if connection.execute(open_job.with_for_update()).one_or_none() is None:
        return False
    failed = (
        select(func.coalesce(func.sum(Chunk.failed), 0))
        .where(Chunk.job_id == job_id)
        .scalar_subquery()
    )
    # Retried after it was stopped: what never ran is still missing.
    missing = exists().where(Chunk.job_id == job_id, Chunk.status == ChunkStatus.CANCELLED)
    closed = connection.execute(
        update(Job)
        .where(
            Job.id == job_id, ~exists().where(Chunk.job_id == job_id, Chunk.status.in_(OPEN))
        )
        .values(
            status=case(
                (missing, JobStatus.CANCELLED),
                (failed > 0, JobStatus.COMPLETED_WITH_ERRORS),
                else_=JobStatus.COMPLETED,
            ),
            finished_at=now(),
        )
    )  # fmt: skip
    if closed.rowcount:
        notices.write(connection, job_id)
    return closed.rowcount == 1


def active_jobs(connection: Connection, after: int = 0, limit: int = SLICE) -> Sequence[int]:
    """Return ids of jobs whose chunks may be sent, in order, from the one after `after`."""
    return (
        connection.execute(
            select(Job.id).where(Job.status.in_(ACTIVE), Job.id > after).order_by(Job.id)
            .limit(limit)
        )
        .scalars()
        .all()
    )  # fmt: skip
