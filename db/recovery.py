"""The sweep's SQL: chunks of dead workers and of lost messages come back, poison is isolated.

Each change is one guarded UPDATE or DELETE, so any number of sweepers may run at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from core.errors import Code
from core.types import ChunkStatus, Failure, digest, encode_uris
from db.bulk import insert_rows
from db.chunks import RESULTS
from db.clock import now, seconds_from_now
from db.models import HELD, TRIED, Chunk, Job, Worker
from db.retry import adopt, take_back
from db.rows import Rows, moment, result_rows
from db.workers import is_live

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

#: Crashes after which a chunk is split to find the picture that kills its worker.
SPLIT_AT = 3
#: Parts a chunk is split into: with eight, 256 pictures take three rounds instead of eight.
PARTS = 8
#: Chunks handled in one transaction.
SLICE = 1000


@dataclass(frozen=True, slots=True)
class Backlog:
    """One Redis list that jobs' messages wait in."""

    queue: str
    priority: int


def release_dead(connection: Connection, dead_after: float) -> int:
    """Free the chunks whose worker went silent, and those whose lease ran out."""
    alive = select(Worker.id).where(is_live(dead_after)).scalar_subquery()
    # Not NULL: with nobody alive, NULL is not in nothing, and a producer sends as nobody.
    orphaned = and_(Chunk.worker.is_not(None), Chunk.worker.not_in(alive))
    lost = or_(Chunk.lease_until < now(), orphaned)
    released = _release(connection, lost, "its worker died or its lease ran out")
    return released + _unsend(connection, orphaned)


def holding_children(connection: Connection, worker: str) -> Sequence[int]:
    """Return the process ids of a worker's children that hold chunks or were to send them."""
    held = select(Chunk.child).where(HELD, Chunk.worker == worker)
    return [child for child in connection.execute(held.distinct()).scalars() if child is not None]


def release_children(connection: Connection, worker: str, dead: Collection[int]) -> int:
    """Free the chunks that dead children of a living worker held or were to send."""
    orphaned = and_(Chunk.worker == worker, Chunk.child.in_(tuple(dead)))
    released = _release(connection, orphaned, "its child process died")
    return released + _unsend(connection, orphaned)


def _release(connection: Connection, condition: ColumnElement[bool], why: str) -> int:
    released = connection.execute(
        update(Chunk)
        .where(HELD, Chunk.status == ChunkStatus.RUNNING, condition)
        .values(
            status=ChunkStatus.PENDING,
            error_code=Code.WORKER_CRASH.value,
            error=func.coalesce(Chunk.worker, "") + ": " + why,
            worker=None,
            child=None,
            lease_until=None,
            queued_at=None,
        )
    )
    return released.rowcount


def _unsend(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Free queued chunks whose sender died: before it sent them or after, nobody knows.

    Those that were sent are sent twice, and the second message finds nothing to do.
    """
    unsent = connection.execute(
        update(Chunk)
        .where(HELD, Chunk.status == ChunkStatus.QUEUED, condition)
        .values(status=ChunkStatus.PENDING, worker=None, child=None, queued_at=None)
    )
    return unsent.rowcount


def backlogs(connection: Connection) -> Sequence[Backlog]:
    """Return the Redis lists in which chunks should be waiting."""
    rows = connection.execute(
        select(Job.queue, Job.priority)
        .where(Job.id.in_(select(Chunk.job_id).where(HELD, Chunk.status == ChunkStatus.QUEUED)))
        .distinct()
    )
    return [Backlog(row.queue, row.priority) for row in rows]


def release_lost(
    connection: Connection, backlog: Backlog, oldest: datetime | None, held: Collection[int],
    slack: float,
) -> int:  # fmt: skip
    """Free the queued chunks whose message is gone from `backlog`.

    Messages wait in order, so a chunk queued well before the `oldest` one waiting (None: nothing
    waits) and not `held` unacknowledged by a worker has lost its message. `slack` covers the time
    between marking a chunk queued and sending it, which several senders do in any order.
    """
    lost = [
        HELD,
        Chunk.status == ChunkStatus.QUEUED,
        Chunk.queued_at < seconds_from_now(-slack),
        Chunk.job_id.in_(
            select(Job.id).where(Job.queue == backlog.queue, Job.priority == backlog.priority)
        ),
    ]
    if oldest is not None:
        lost.append(Chunk.queued_at < oldest - timedelta(seconds=slack))
    if held:
        lost.append(Chunk.id.not_in(tuple(held)))
    released = connection.execute(
        update(Chunk).where(*lost).values(status=ChunkStatus.PENDING, queued_at=None)
    )
    return released.rowcount


def troubled(connection: Connection, max_attempts: int) -> Sequence[int]:
    """Return the pending chunks that crashed too often, or failed too often otherwise."""
    crashed = and_(Chunk.error_code == Code.WORKER_CRASH, Chunk.attempts >= SPLIT_AT)
    return (
        connection.execute(
            select(Chunk.id)
            .where(TRIED, or_(crashed, Chunk.attempts >= max_attempts))
            .order_by(Chunk.id)
            .limit(SLICE)
        )
        .scalars()
        .all()
    )


def resolve(connection: Connection, chunk_id: int, max_attempts: int) -> bool:
    """Split a chunk that crashed its workers, or end one that cannot be helped.

    A chunk that failed otherwise (its model cannot be loaded, say) ends whole: its images all get
    the error that it was handed back with. Returns False if somebody else dealt with it.
    """
    chunk = connection.execute(
        select(Chunk.__table__)
        .where(Chunk.id == chunk_id, Chunk.status == ChunkStatus.PENDING)
        .with_for_update()
    ).one_or_none()
    if chunk is None:
        return False
    crashed = chunk.error_code == Code.WORKER_CRASH and chunk.attempts >= SPLIT_AT
    if crashed and chunk.size > 1:
        _split(connection, chunk)
    elif crashed or chunk.attempts >= max_attempts:
        _condemn(connection, chunk)
    else:
        return False
    return True


def _split(connection: Connection, chunk: Any) -> None:
    """Replace a chunk by up to `PARTS` smaller ones that hold the same positions."""
    connection.execute(delete(Chunk).where(Chunk.id == chunk.id))
    positions = _positions(chunk)
    step = -(-chunk.size // PARTS)
    for start in range(0, chunk.size, step):
        part = slice(start, start + step)
        uris = chunk.uris[part]
        part_id = connection.execute(
            insert(Chunk)
            .values(
                job_id=chunk.job_id,
                seq=chunk.seq,
                size=len(uris),
                first_position=positions[start],
                positions=list(positions[part]) if chunk.positions else None,
                uris=uris,
                extra=chunk.extra[part] if chunk.extra else None,
                digest=digest(encode_uris(uris)),
                status=ChunkStatus.PENDING,
                # One more crash splits a part again. A single picture must crash twice alone: its
                # worker may have died of something else.
                attempts=SPLIT_AT - 1 if len(uris) > 1 else SPLIT_AT - 2,
                ok=0,
                failed=0,
                retry=chunk.retry,
            )
            .returning(Chunk.id)
        ).scalar_one()
        if chunk.retry:
            adopt(connection, chunk.job_id, positions[part], part_id)


def _condemn(connection: Connection, chunk: Any) -> None:
    """End a chunk: every image gets the error that the chunk was handed back with."""
    code = Code(chunk.error_code or Code.INTERNAL)
    failure = Failure(code, f"after {chunk.attempts} attempts: {chunk.error or 'no reason known'}")
    ended_at = connection.execute(
        update(Chunk)
        .where(Chunk.id == chunk.id, Chunk.status == ChunkStatus.PENDING)
        .values(
            status=ChunkStatus.DONE,
            failed=chunk.size,
            uris=None,
            extra=None,
            positions=None,
            finished_at=now(),
        )
        .returning(Chunk.finished_at)
    ).scalar_one()
    assert ended_at is not None
    model = connection.execute(select(Job.model).where(Job.id == chunk.job_id)).scalar_one()
    positions = _positions(chunk)
    before = take_back(connection, chunk.job_id, positions) if chunk.retry else {}
    at = moment(connection, ended_at)
    shared = Rows(chunk.job_id, chunk.id, model, None, at, before)
    rows = result_rows(shared, positions, chunk.uris, chunk.extra, [failure] * chunk.size)
    insert_rows(connection, RESULTS, rows)


def _positions(chunk: Any) -> Sequence[int]:
    return chunk.positions or range(chunk.first_position, chunk.first_position + chunk.size)
