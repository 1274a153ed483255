"""Is a worker that lives also working? Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from core.types import ChunkStatus
from db.clock import seconds_from_now
from db.models import ACTIVE, HELD, Chunk, Job, Worker

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.workers import LiveWorker


def takes_nothing(connection: Connection, worker: LiveWorker, seconds: float) -> bool:
    """Whether a worker has let chunks wait for so long, though its hands were empty all the time.

    A worker that consumes takes a waiting chunk at once; one whose message was lost is sent again
    by the sweep, so `seconds` must leave it the time for that.
    """
    info, long_ago = worker.info, seconds_from_now(-seconds)
    waiting = exists().where(
        HELD,
        Chunk.status == ChunkStatus.QUEUED,
        Chunk.queued_at < long_ago,
        Chunk.job_id.in_(select(Job.id).where(Job.queue == info.queue, Job.status.in_(ACTIVE))),
    )
    holding = exists().where(HELD, Chunk.status == ChunkStatus.RUNNING, Chunk.worker == info.id)
    new = exists().where(Worker.id == info.id, Worker.started_at >= long_ago)
    if not connection.execute(select(waiting & ~holding & ~new)).scalar_one():
        return False
    # Last, for it reads all chunks; `worker` stays on the row of a chunk that is done.
    finished = exists().where(Chunk.worker == info.id, Chunk.finished_at >= long_ago)
    return not connection.execute(select(finished)).scalar_one()
