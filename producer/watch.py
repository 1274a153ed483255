"""Watch: wait for a job, from SQL only, sweeping meanwhile so that nothing waits for a dead worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker.sweep import sweep
from core.errors import BrokerError
from core.types import JobStatus
from db import queries
from producer.glance import glance_at
from producer.webhook import deliver_due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.glance import Glance
    from producer.submit import Desk

#: Seconds between looks, at first and at most: short jobs are noticed at once, long ones cost little.
SOON, LATE = 0.05, 0.5
#: Seconds without a finished chunk after which we look for what is in the way.
PATIENCE = 5.0


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
        yield glance_at(desk.database, desk.settings, progress, in_the_way=stuck)
        if ended:
            deliver_due(desk.database, desk.settings)
            return
        time.sleep(pause)
        pause = min(LATE, pause * 1.2)
        if sweeping and time.monotonic() >= next_sweep:
            _sweep(desk)
            next_sweep = time.monotonic() + desk.settings.sweep_interval


def _sweep(desk: Desk) -> None:
    try:
        sweep(desk.app, desk.database, desk.settings)
    except BrokerError:
        return  # Redis is away: the next sweep comes soon, and the job's state is in SQL
