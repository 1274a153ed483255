"""The workers' signs of life, and the counters of rare events."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.types import ChunkStatus
from db.clock import now, seconds_between, seconds_from_now
from db.models import HELD, Chunk, Counter, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

#: Days after which a dead worker's row is forgotten.
FORGET_AFTER_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Who a worker is and what it serves; `slots` are its child processes."""

    id: str
    host: str
    pid: int
    queue: str
    slots: int
    engine: str
    device: str


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker that was seen lately."""

    info: WorkerInfo
    started_at: datetime
    last_seen: datetime


def heartbeat(connection: Connection, info: WorkerInfo) -> float:
    """Tell the database that this worker lives; return its seconds of silence before, 0 if it is new."""
    since = select(seconds_between(Worker.last_seen, now())).where(Worker.id == info.id)
    silent = connection.execute(since).scalar_one_or_none()
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(Worker)
        .values(**asdict(info), started_at=now(), last_seen=now())
        .on_conflict_do_update(
            index_elements=[Worker.id],
            set_={"last_seen": now(), "slots": info.slots, "queue": info.queue},
        )
    )
    return silent or 0.0


def leave(connection: Connection, worker_id: str) -> None:
    """Forget a worker that stopped in good order: what it marked as queued, it sent."""
    connection.execute(
        update(Chunk)
        .where(HELD, Chunk.status == ChunkStatus.QUEUED, Chunk.worker == worker_id)
        .values(worker=None, child=None)
    )
    strike_off(connection, worker_id)


def strike_off(connection: Connection, worker_id: str) -> None:
    """Forget a worker whose process is gone: the next sweep frees its chunks."""
    connection.execute(delete(Worker).where(Worker.id == worker_id))


def forget_dead(connection: Connection) -> None:
    """Delete the rows of workers that died long ago."""
    connection.execute(
        delete(Worker).where(Worker.last_seen < seconds_from_now(-FORGET_AFTER_SECONDS))
    )


def live_workers(
    connection: Connection, dead_after: float, queue: str | None = None, host: str | None = None
) -> Sequence[LiveWorker]:
    """Return the workers that live (and serve `queue`, and run on `host`, if given)."""
    chosen = select(Worker).where(is_live(dead_after)).order_by(Worker.id)
    if queue is not None:
        chosen = chosen.where(Worker.queue == queue)
    if host is not None:
        chosen = chosen.where(Worker.host == host)
    return [
        LiveWorker(
            WorkerInfo(w.id, w.host, w.pid, w.queue, w.slots, w.engine, w.device),
            w.started_at,
            w.last_seen,
        )
        for w in connection.execute(chosen.with_only_columns(*Worker.__table__.columns)).all()
    ]


def live_slots(connection: Connection, dead_after: float, queue: str) -> int:
    """Return how many chunks the live workers of `queue` can hold at once."""
    total = select(func.coalesce(func.sum(Worker.slots), 0))
    return connection.execute(total.where(is_live(dead_after), Worker.queue == queue)).scalar_one()


def live_count(connection: Connection, dead_after: float) -> int:
    """Return how many workers live."""
    return connection.execute(
        select(func.count()).select_from(Worker).where(is_live(dead_after))
    ).scalar_one()


def is_live(dead_after: float) -> ColumnElement[bool]:
    """Return the condition that a worker was seen within `dead_after` seconds."""
    return Worker.last_seen >= seconds_from_now(-dead_after)


def count(connection: Connection, name: str, by: int = 1) -> None:
    """Raise a counter. Meant for rare events: every caller waits for the row."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(Counter)
        .values(name=name, value=by)
        .on_conflict_do_update(
            index_elements=[Counter.name], set_={"value": Counter.value + literal(by)}
        )
    )


def counters(connection: Connection) -> dict[str, int]:
    """Return all counters."""
    rows = connection.execute(select(Counter.name, Counter.value))
    return {row.name: row.value for row in rows}


def clock_offset(connection: Connection) -> float:
    """Return how many seconds this host's clock is ahead of the database's."""
    there: datetime = connection.execute(select(now())).scalar_one()
    return time.time() - there.timestamp()
