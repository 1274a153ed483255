"""The sweep: what a dead worker held and what Redis lost is sent again.

Needs no worker: a timer in every worker's parent runs it, and so does a command.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from broker.app import BROKER_ERRORS, KEY_PREFIX, broker_error, list_key
from broker.dispatch import Dispatcher
from db import duties, jobs, recovery, steering, workers

if TYPE_CHECKING:
    from celery import Celery

    from core.settings import Settings
    from db.session import Database

#: Seconds after which a submission that writes nothing is taken for abandoned.
ABANDONED_AFTER = 900


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did, in chunks (and jobs closed or discarded)."""

    dead: int
    lost: int
    resolved: int
    cancelled: int
    sent: int
    closed: int
    discarded: int

    @property
    def idle(self) -> bool:
        """Whether nothing had to be done."""
        return not any(
            (self.dead, self.lost, self.resolved, self.cancelled, self.sent, self.closed)
        )


def sweep(
    app: Celery, database: Database, settings: Settings, *, spare_silent: bool = False
) -> Swept:
    """Bring back what was lost, isolate what kills workers, refill every active job's window.

    Any number may run at once. `spare_silent`: silence is no proof of death just now, for the
    database was away and nobody could give a sign of life.

    Raises:
        BrokerError: if Redis cannot be read or written. What SQL alone can mend is mended by then.
    """
    # Whoever sweeps gives no sign of life meanwhile: what is not done by then, the next sweep does.
    until = time.monotonic() + settings.heartbeat
    dead = 0 if spare_silent else database.write(recovery.release_dead, settings.dead_after)
    resolved = _resolve(database, settings)
    cancelled = _drop_cancelled(database)
    discarded = _discard_abandoned(database, until)
    _stop_failing(database)
    closed = _close(database)
    lost = _release_lost(app, database, settings)
    sent = _top_up(Dispatcher(app, database, settings), until)
    if dead or lost:
        database.write(workers.count, "chunks_swept", dead + lost)
    database.write(workers.forget_dead)
    return Swept(dead, lost, resolved, cancelled, sent, closed, discarded)


def resolve_and_refill(app: Celery, database: Database, settings: Settings) -> None:
    """Do the part of a sweep that follows the death of a worker's own child."""
    _resolve(database, settings)
    _close(database)
    _top_up(Dispatcher(app, database, settings), time.monotonic() + settings.heartbeat)


def _resolve(database: Database, settings: Settings) -> int:
    troubled = database.read(recovery.troubled, settings.max_attempts)
    return sum(database.write(recovery.resolve, chunk, settings.max_attempts) for chunk in troubled)


def _drop_cancelled(database: Database) -> int:
    stopped = database.read(duties.stopped_jobs)
    return sum(database.write(steering.end_unsent, job_id) for job_id in stopped)


def _discard_abandoned(database: Database, until: float) -> int:
    abandoned = database.read(jobs.abandoned, ABANDONED_AFTER)
    return sum(discard(database, job_id, ABANDONED_AFTER, until) for job_id in abandoned)


def discard(
    database: Database, job_id: int, idle_seconds: float | None = None, until: float = math.inf
) -> bool:
    """Delete a job that was never wholly submitted, a slice at a time; False if it is not gone yet.

    With `idle_seconds` only if its submitter went silent for so long; a whole one never.
    """
    if not database.write(jobs.give_up, job_id, idle_seconds):
        return False
    while not (gone := database.write(jobs.discard_slice, job_id)) and time.monotonic() < until:
        pass
    return gone


def _stop_failing(database: Database) -> None:
    """Stop jobs whose chunks were given up: no worker completes one, and would notice."""
    for job_id, limit in database.read(steering.error_limits):
        if database.read(steering.too_many_errors, job_id, limit):
            database.write(steering.stop_if_failing, job_id, limit)


def _close(database: Database) -> int:
    ended = database.read(duties.ended_jobs)
    return sum(database.write(jobs.close_if_done, job_id) for job_id in ended)


def _top_up(dispatcher: Dispatcher, until: float) -> int:
    sent = 0
    for queue in dispatcher.database.read(duties.active_queues):
        window = dispatcher.database.read(dispatcher.window, queue)
        for job_id in dispatcher.database.read(duties.below_window, queue, window):
            if time.monotonic() > until:
                return sent
            sent += dispatcher.top_up(job_id)
    return sent


def _release_lost(app: Celery, database: Database, settings: Settings) -> int:
    released = 0
    for backlog in database.read(recovery.backlogs):
        try:
            oldest, held = _look(app, backlog, settings.lost_after)
        except BROKER_ERRORS as error:
            raise broker_error("Redis cannot be read", error) from error
        released += database.write(
            recovery.release_lost, backlog, oldest, held, settings.lost_after
        )
    return released


def _look(app: Celery, backlog: recovery.Backlog, slack: float) -> tuple[datetime | None, set[int]]:
    """Return since when the oldest message waits, and which chunks were handed to workers lately.

    Reads one message of the list, whatever its length: the list is in order. Restored messages
    go to its old end, which only makes the answer more careful. What was handed out longer than
    `slack` ago and is not claimed yet, died with its worker in between.
    """
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        client = channel.client
        # kombu adds the prefix to the commands it uses itself; these are not among them.
        unacked, index = KEY_PREFIX + channel.unacked_key, KEY_PREFIX + channel.unacked_index_key
        last = client.lindex(KEY_PREFIX + list_key(backlog.queue, backlog.priority), -1)
        # Until then: a message that a worker took whose clock is days ahead is not held for days.
        tags = client.zrangebyscore(index, time.time() - slack, time.time() + slack)
        held = client.hmget(unacked, tags) if tags else []
    chunks = {_headers(entry).get("chunk_id") for entry in held if entry}
    oldest = None if last is None else _moment(_headers(last).get("queued_at"))
    return oldest, {chunk for chunk in chunks if isinstance(chunk, int)}


def _moment(stamp: Any) -> datetime:
    """Return when a message was queued; long ago if it does not say so in our way.

    Such a message is not ours; what waits behind it is unknown, so nothing is lost.
    """
    try:
        return datetime.fromtimestamp(stamp, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _headers(raw: bytes) -> dict[str, Any]:
    """Return a stored message's headers; nothing for junk that anybody may have pushed."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    if isinstance(message, list) and message:  # as kept while unacknowledged
        message = message[0]
    headers = message.get("headers") if isinstance(message, dict) else None
    return headers if isinstance(headers, dict) else {}
