"""The outbox of completion notices: written with the status they tell of, delivered later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import exists, insert, select, update

from db.clock import now, seconds_from_now
from db.models import Job, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

#: Seconds a deliverer has for one notice before another may try it.
CLAIM_SECONDS = 120
#: Tries, and the seconds after the first failed one; doubled each time: about five hours in all.
TRIES = 12
FIRST_PAUSE = 5.0
#: Notices a deliverer looks at in one run.
BATCH = 50


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice to deliver now; `id` is the same at every try."""

    id: str
    job_id: int
    status: str
    url: str
    attempts: int


def write(connection: Connection, job_id: int) -> None:
    """Note that a job has just ended, if it has a webhook. In the transaction that ends it."""
    job = connection.execute(select(Job.status, Job.options).where(Job.id == job_id)).one()
    url = job.options.get("webhook")
    if url:
        connection.execute(
            insert(Notice).values(
                id=str(uuid4()),
                job_id=job_id,
                status=job.status,
                url=url,
                attempts=0,
                created_at=now(),
                due_at=now(),
            )
        )


def any_due(connection: Connection) -> bool:
    """Whether a notice waits to be delivered now."""
    return bool(
        connection.execute(select(exists().where(Notice.due_at <= now()))).scalar_one()
    )  # fmt: skip


def due(connection: Connection) -> Sequence[str]:
    """Return the ids of notices to deliver now, the longest waiting first."""
    waiting = select(Notice.id).where(Notice.due_at <= now()).order_by(Notice.due_at).limit(BATCH)
    return connection.execute(waiting).scalars().all()


def take(connection: Connection, notice_id: str) -> DueNotice | None:
    """Make a due notice ours for a while, counting the try; None if somebody else has it."""
    row = connection.execute(
        update(Notice)
        .where(Notice.id == notice_id, Notice.due_at <= now())
        .values(attempts=Notice.attempts + 1, due_at=seconds_from_now(CLAIM_SECONDS))
        .returning(Notice.id, Notice.job_id, Notice.status, Notice.url, Notice.attempts)
    ).one_or_none()
    return None if row is None else DueNotice(*row)


def delivered(connection: Connection, notice_id: str) -> None:
    """Record that a notice has arrived."""
    connection.execute(
        update(Notice)
        .where(Notice.id == notice_id)
        .values(due_at=None, delivered_at=now(), error=None)
    )


def failed(connection: Connection, notice: DueNotice, why: str) -> None:
    """Record a failed try: the next one comes later, or never after the last."""
    last = notice.attempts >= TRIES
    pause = FIRST_PAUSE * 2 ** (notice.attempts - 1)
    connection.execute(
        update(Notice)
        .where(Notice.id == notice.id, Notice.delivered_at.is_(None))
        .values(due_at=None if last else seconds_from_now(pause), error=why)
    )
