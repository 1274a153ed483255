"""A child process of the worker: what it opens after the fork, and how it is told to stop."""

from __future__ import annotations

import faulthandler
import logging
import time
from multiprocessing import Value
from typing import TYPE_CHECKING, Any, Final

from billiard import current_process, pool
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import DBAPIError

from broker.app import make_app
from broker.dispatch import Dispatcher
from core.errors import ClassyardError
from core.tracing import open_tracing
from db import workers
from db.session import open_database
from worker.engines.base import Child
from worker.fetch.board import Board
from worker.models import Models
from worker.runtime import Runtime, StoppingError
from worker.telemetry import Telemetry
from worker.watchdog import Watchdog

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery

    from core.settings import Settings
    from db.session import Database

log = logging.getLogger("classyard.worker")

#: Tenths of a second that a child at its end waits for its parent.
LAST_LOOKS: Final = 20


class Stop:
    """Shared by parent and children, made before the fork: until when chunks may be finished."""

    def __init__(self) -> None:
        self._deadline = Value("d", 0.0, lock=False)

    def begin(self, grace: float) -> None:
        """Start the grace time, unless it runs already."""
        if self._deadline.value == 0.0:
            self._deadline.value = time.monotonic() + grace

    def check(self) -> None:
        """Raise StoppingError once the grace time is over."""
        if 0.0 < self._deadline.value < time.monotonic():
            raise StoppingError("the worker is being stopped")


class ChildProcess:
    """Opens a child's database, models and runtime after the fork, and closes them at its end."""

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        worker_id: str,
        stop: Stop,
        metrics_folder: Path | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._worker_id = worker_id
        self._stop = stop
        self._metrics_folder = metrics_folder
        self._board = Board()  # before the fork: all children write on the same one
        self._telemetry = Telemetry()
        self._database: Database | None = None
        self._models: Models | None = None
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """The runtime of this process."""
        assert self._runtime is not None, "only a child classifies"
        return self._runtime

    def start(self, **_: Any) -> None:
        """Open everything. Called by Celery in each new child."""
        faulthandler.enable()
        # A child that ends waits until its parent has read its results. A parent that stops reads
        # none of a task that it had handed out just before, and waits for the child: for 30 s.
        pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = LAST_LOOKS
        settings = self._settings
        watchdog = Watchdog(settings.stall_timeout)
        child = Child(index=current_process().index, count=self._app.conf.worker_concurrency)
        self._telemetry = self._open_telemetry(child)
        self._database = open_database(settings.database)
        self._models = Models(
            settings,
            child,
            watchdog.beat,
            pass_on=(StoppingError, SoftTimeLimitExceeded),
            loaded=self._telemetry.loaded,
            board=self._board,
        )
        self._runtime = Runtime(
            # Impatient: a Redis that is away must not keep a child from the next chunk for minutes.
            Dispatcher(make_app(settings, patient=False), self._database, settings),
            self._models,
            watchdog,
            self._worker_id,
            self._stop.check,
            self._telemetry,
        )
        for name in settings.preload:
            try:
                self._models.preload(name)
            except ClassyardError as error:
                # Not fatal here: a child that dies while starting is restarted for ever. The chunk
                # that needs the model is handed back with this reason.
                log.error("%s", error, extra={"action": "preload_failed"})  # noqa: TRY400

    def end(self, **_: Any) -> None:
        """Close everything. Called by Celery when a child ends in good order."""
        if self._models is not None:
            self._models.close()
        if self._database is not None:
            self._database.close()
        self._telemetry.close()

    def _open_telemetry(self, child: Child) -> Telemetry:
        meters = None
        if self._metrics_folder is not None:
            from worker.meters import Meters

            meters = Meters(self._metrics_folder, f"child{child.index}")
        return Telemetry(meters, open_tracing(self._settings, "classyard-worker"))

    def refused(self) -> None:
        """Count a message that was none of ours."""
        self._telemetry.refused()
        self.count("messages_refused")

    def count(self, name: str) -> None:
        """Raise a counter; a database that is away loses the count, nothing else."""
        try:
            if self._database is not None:
                self._database.write(workers.count, name)
        except DBAPIError as error:
            log.warning("cannot count %s: %s", name, str(error).splitlines()[0])
