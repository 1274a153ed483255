"""What a worker's parent process does besides handing out messages: live, look after, sweep.

Runs as timers of Celery's own loop, not as a thread: the parent forks, and a fork in the middle of
another thread's work would leave its locks held for ever in the child.
"""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from broker.app import ping
from broker.sweep import resolve_and_refill, sweep
from core.errors import ClassyardError
from db import notices, recovery, workers
from db.migrate import require_schema
from worker.identity import dead_neighbours, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from celery import Celery

    from core.settings import Settings
    from db.session import Database
    from db.workers import WorkerInfo
    from worker.exporting import Exporting

log = logging.getLogger("classyard.worker")

#: Seconds between looks after the own children.
CHILD_INTERVAL = 2.0
#: Sweeps per interval that are wanted of all workers together: a thousand need not sweep at once.
SWEEPERS = 4


class Keeper:
    """Keeps a worker's row fresh, frees what its dead children held, and sweeps."""

    def __init__(
        self,
        app: Celery,
        database: Database,
        settings: Settings,
        info: WorkerInfo,
        exporting: Exporting | None = None,
    ) -> None:
        self._app = app
        self._database = database
        self._settings = settings
        self._info = info
        self._exporting = exporting
        self._next_beat = 0.0
        self._judge_from = 0.0
        self._courier: subprocess.Popen[bytes] | None = None
        # While the children finish, Celery runs the timers in a thread beside the one that stops.
        self._turn = threading.RLock()
        self._stopping = False
        self._departed = False

    def arrive(self) -> None:
        """Enter the workers' table; free what workers of this host held that died unnoticed.

        Raises:
            DatabaseError: if the database is not ours or not reached.
        """
        require_schema(self._database)
        self._database.write(workers.heartbeat, self._info)
        known = self._database.read(
            workers.live_workers, self._settings.dead_after, host=self._info.host
        )
        for gone in dead_neighbours(worker.info for worker in known):
            self._database.write(workers.strike_off, gone)

    def keep(self, timer: Any) -> None:
        """Start the timers."""
        timer.call_repeatedly(self._settings.heartbeat, self._guarded, (self._beat,))
        timer.call_repeatedly(CHILD_INTERVAL, self._guarded, (self._look_after,))
        # Jitter: workers that started together must not sweep together for ever.
        interval = self._settings.sweep_interval * random.uniform(0.9, 1.1)  # noqa: S311
        timer.call_repeatedly(interval, self._guarded, (self._sweep,))
        timer.call_after(0.5, self._guarded, (self._sweep,))
        if self._exporting is not None:
            self._exporting.meters.arrived(self._info)
            self._exporting.ensure()
            timer.call_repeatedly(CHILD_INTERVAL, self._exporting.ensure)

    def beat_if_due(self) -> None:
        """Give a sign of life if the timers, which should, cannot run."""
        if time.monotonic() >= self._next_beat:
            self._guarded(self._beat)

    def ping_broker(self) -> None:
        """Check that Redis answers.

        Raises:
            BrokerError: if it does not.
        """
        ping(self._app)

    def stop_sweeping(self) -> None:
        """Leave sweeps to others from now on: nobody shall wait for one that waits for Redis."""
        self._stopping = True

    def depart(self) -> None:
        """Leave the workers' table, so that nobody waits for us to be declared dead."""
        with self._turn:
            self._guarded(lambda: self._database.write(workers.leave, self._info.id))
            self._departed = True  # another sign of life would enter us again
        if self._exporting is not None:
            self._exporting.close()

    def count(self, name: str) -> None:
        """Raise a counter."""
        self._guarded(lambda: self._database.write(workers.count, name))

    def _beat(self) -> None:
        self._next_beat = time.monotonic() + self._settings.heartbeat
        silent = self._database.write(workers.heartbeat, self._info)
        if silent > 2 * self._settings.heartbeat:
            # We were silent and live: so may others be. They get the time to say so.
            self._judge_from = time.monotonic() + 2 * self._settings.heartbeat

    def _look_after(self) -> None:
        """Free the chunks of children that died: the pool starts new ones, the chunks wait."""
        # First the table, then the processes: a child that claims in between is seen alive.
        holding = self._database.read(recovery.holding_children, self._info.id)
        dead = [pid for pid in holding if not is_alive(pid)]
        if not dead:
            return
        log.warning("children %s died", dead, extra={"action": "children_died"})
        if self._exporting is not None:
            self._exporting.meters.children_died(len(dead))
        self._database.write(recovery.release_children, self._info.id, dead)
        resolve_and_refill(self._app, self._database, self._settings)

    def _sweep(self) -> None:
        if self._stopping:
            return
        live = self._database.read(workers.live_count, self._settings.dead_after)
        if random.random() * live > SWEEPERS:  # noqa: S311
            return
        self._beat()
        spare = time.monotonic() < self._judge_from
        swept = sweep(self._app, self._database, self._settings, spare_silent=spare)
        if self._exporting is not None:
            self._exporting.meters.swept(swept)
        if not swept.idle:
            log.info("%s", swept, extra={"action": "swept"})
        self._send_courier()

    def _send_courier(self) -> None:
        """Have completion notices delivered by another process: this one must not wait for them."""
        if self._courier is not None and self._courier.poll() is None:
            return
        if self._database.read(notices.any_due):
            self._courier = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.notify"],
                env=self._settings.as_environment(),
                stdin=subprocess.DEVNULL,
            )

    def _guarded(self, work: Callable[[], object]) -> None:
        """Run `work`; a database or broker that is away now is there again at the next tick."""
        with self._turn:
            if self._departed:
                return
            try:
                work()
            except (ClassyardError, DBAPIError) as error:
                log.warning("%s", str(error).splitlines()[0], extra={"action": "keeper_failed"})
