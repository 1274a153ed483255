"""Which jobs want something of a sweep: thousands may be active, most of them want nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from core.types import ChunkStatus
from db.jobs import SLICE
from db.models import ACTIVE, OPEN, Chunk, Job
from db.steering import STOPPED, UNSENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection


def ended_jobs(connection: Connection) -> Sequence[int]:
    """Return up to a slice of active jobs that have no open chunk, so that they can be closed."""
    ended = select(Job.id).where(Job.status.in_(ACTIVE), ~_has(OPEN)).order_by(Job.id).limit(SLICE)
    return connection.execute(ended).scalars().all()


def stopped_jobs(connection: Connection) -> Sequence[int]:
    """Return up to a slice of stopped jobs of which chunks still wait."""
    stopped = select(Job.id).where(Job.status.in_(STOPPED), _has(UNSENT)).order_by(Job.id)
    return connection.execute(stopped.limit(SLICE)).scalars().all()


def active_queues(connection: Connection) -> Sequence[str]:
    """Return the queues that active jobs wait in."""
    queues = select(Job.queue).where(Job.status.in_(ACTIVE)).distinct().order_by(Job.queue)
    return connection.execute(queues).scalars().all()


def below_window(connection: Connection, queue: str, window: int) -> Sequence[int]:
    """Return up to a slice of a queue's jobs whose window has room for a pending chunk.

    Those with the fewest chunks under way come first.
    """
    flying = select(func.count()).where(
        Chunk.job_id == Job.id, Chunk.status.in_((ChunkStatus.QUEUED, ChunkStatus.RUNNING))
    )
    waiting = (
        select(Job.id, flying.scalar_subquery().label("flying"))
        .where(Job.status.in_(ACTIVE), Job.queue == queue, _has((ChunkStatus.PENDING,)))
        .subquery()
    )
    chosen = select(waiting.c.id).where(waiting.c.flying < window)
    ordered = chosen.order_by(waiting.c.flying, waiting.c.id).limit(SLICE)
    return connection.execute(ordered).scalars().all()


def _has(statuses: Sequence[ChunkStatus]) -> ColumnElement[bool]:
    """Return the condition that a job has a chunk of one of these statuses.

    Not EXISTS: PostgreSQL would rather read all chunks once than look into the index for each job.
    """
    one = select(Chunk.id).where(Chunk.job_id == Job.id, Chunk.status.in_(statuses)).limit(1)
    return one.scalar_subquery().is_not(None)
