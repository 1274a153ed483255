"""The yard on this machine: open it, and start what is not running."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from broker.app import make_app
from broker.embedded import embedded_redis
from core.errors import ClassyardError
from core.prepare import require_worker
from core.tracing import open_tracing
from db import workers
from producer.record import open_record
from producer.services import STOP_EXTRA, Service, from_here
from producer.submit import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings

#: Restarts in a row after which nobody waits for a worker any more that was started for one job.
MOST_RESTARTS = 2


@contextmanager
def open_desk(settings: Settings, *, own_redis: bool = True) -> Iterator[Desk]:
    """Open database and broker; an embedded Redis is started if it does not run.

    Raises:
        ClassyardError: one line that says what is missing.
    """
    if not (settings.broker_url and settings.database_url):  # else nothing of it is needed
        try:
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            reason = error.strerror or error
            raise ClassyardError(f"CLASSYARD_HOME: {settings.home}: {reason}") from error
    with ExitStack() as stack:
        if own_redis and not settings.broker_url:
            stack.enter_context(embedded_redis(settings.home))
        database = stack.enter_context(open_record(settings))
        app = make_app(settings, patient=False)
        stack.callback(app.close)
        tracing = open_tracing(settings, "classyard-producer")
        stack.callback(tracing.close)
        yield Desk(app, database, settings, tracing)


@contextmanager
def worker_running(desk: Desk) -> Iterator[Service | None]:
    """Make sure that a worker serves the queue: yield the one started, or None if one lives."""
    settings = desk.settings
    if desk.database.read(workers.live_slots, settings.dead_after, settings.queue):
        yield None
        return
    service = worker_service(settings)
    service.start()
    try:
        yield service
    finally:
        service.stop()


def worker_service(settings: Settings) -> Service:
    """Return the worker of this machine, not started."""
    return Service(
        name="worker",
        command=worker_command(),
        log=settings.home / "logs" / "worker.log",
        environment=settings.as_environment(),
        stop_seconds=settings.grace + STOP_EXTRA,
    )


def metrics_service(settings: Settings) -> Service:
    """Return the yard's metrics as a service, not started."""
    return Service(
        name="metrics",
        command=[sys.executable, "-P", "-m", "producer", "metrics"],
        log=settings.home / "logs" / "metrics.log",
        environment=settings.as_environment(),
        stop_seconds=STOP_EXTRA,
        door=(from_here(settings.metrics_address), settings.metrics_port),
    )


def worker_command(*flags: str) -> list[str]:
    """Return the command line of a worker; the app brings pool, queue and concurrency.

    Raises:
        ClassyardError: if only the producer is installed here.
    """
    require_worker()
    # -P: a folder of the user's that happens to be called "worker" must not be taken for ours.
    # -u: a full disk below the log would keep the rest of a line in a buffer, and billiard, which empties
    # it before each fork, from starting a child.
    return [sys.executable, "-P", "-u", "-m", "worker", *flags]


def wait_for_worker(desk: Desk, service: Service, seconds: float = 60) -> None:
    """Wait until a worker has arrived.

    Raises:
        ClassyardError: if it ended instead, or did not arrive in time.
    """
    deadline = time.monotonic() + seconds
    settings = desk.settings
    while not desk.database.read(workers.live_slots, settings.dead_after, settings.queue):
        if service.exit_code is not None or time.monotonic() > deadline:
            raise ClassyardError(f"the worker did not start: {_why(service)}")
        time.sleep(0.05)


def supervise(service: Service) -> str:
    """Start the service again if it died; return what happened, or nothing.

    Raises:
        ClassyardError: if it dies again and again.
    """
    said = service.supervise()
    if said and service.restarts > MOST_RESTARTS:
        raise ClassyardError(f"the {service.name} ends again and again: {_why(service)}")
    return said


def _why(service: Service) -> str:
    words = service.last_words()
    return f"{words} (see {service.log})" if words else f"see {service.log}"
