"""Watch: wait for a job, from SQL only, sweeping meanwhile so that nothing waits for a dead worker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker.sweep import sweep
from core.errors import BrokerError
from core.types import JobStatus
from db import queries, workers
from db.pace import pace, worker_rates
from producer.webhook import deliver_due

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from db.pace import Pace
    from db.queries import Progress
    from producer.submit import Desk

#: Seconds between looks, at first and at most: short jobs are noticed at once, long ones cost little.
SOON, LATE = 0.05, 0.5
#: Seconds without a finished chunk after which we look for what is in the way.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Glance:
    """A job's progress, and what keeps it from moving (empty if nothing does)."""

    progress: Progress
    obstacle: str
    pace: Pace
    #: Images per second of each worker that lately worked on it, by the worker's id.
    workers: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the job ends at its present pace; None if nobody can tell."""
        status = self.progress.status
        if status.terminal or status == JobStatus.PAUSED or not self.pace.rate:
            return None
        return self.progress.pending / self.pace.rate


def look(desk: Desk, job_id: int) -> Glance:
    """Return where a job stands right now.

    Raises:
        NoSuchJobError: if there is no such job.
    """
    progress = desk.database.read(queries.progress, job_id)
    waits = not progress.status.terminal and progress.status != JobStatus.PAUSED
    glance = _glance(desk, progress, obstacle(desk, progress) if waits else "")
    return replace(glance, workers=desk.database.read(worker_rates, job_id))


def _glance(desk: Desk, progress: Progress, obstacle: str) -> Glance:
    found = desk.database.read(pace, progress.job_id, desk.settings.dead_after)
    return Glance(progress, obstacle, found)


def watch(desk: Desk, job_id: int, *, sweeping: bool = True) -> Iterator[Glance]:
    """Yield where a job stands, again and again, until it has ended or is paused.

    Raises:
        NoSuchJobError: if there is no such job.
    """
    pause = SOON
    moved_at, moved = time.monotonic(), -1
    next_sweep = time.monotonic() + desk.settings.sweep_interval
    while True:
        progress = desk.database.read(queries.progress, job_id)
        ended = progress.status.terminal or progress.status == JobStatus.PAUSED
        if progress.done != moved:
            moved_at, moved = time.monotonic(), progress.done
        stuck = not ended and time.monotonic() - moved_at > PATIENCE
        yield _glance(desk, progress, obstacle(desk, progress) if stuck else "")
        if ended:
            deliver_due(desk.database, desk.settings)
            return
        time.sleep(pause)
        pause = min(LATE, pause * 1.2)
        if sweeping and time.monotonic() >= next_sweep:
            _sweep(desk)
            next_sweep = time.monotonic() + desk.settings.sweep_interval


def obstacle(desk: Desk, progress: Progress) -> str:
    """Say why a job does not move: no worker lives, or chunks come back with an error."""
    if progress.status == JobStatus.SUBMITTING:
        return "it is still being submitted"
    queue = desk.database.read(queries.queue_of, progress.job_id)
    if not desk.database.read(workers.live_slots, desk.settings.dead_after, queue):
        return (
            f"no worker serves queue '{queue}': start one with 'classyard worker --queue {queue}'"
        )
    return desk.database.read(queries.last_error, progress.job_id) or ""


def _sweep(desk: Desk) -> None:
    try:
        sweep(desk.app, desk.database, desk.settings)
    except BrokerError:
        return  # Redis is away: the next sweep comes soon, and the job's state is in SQL
