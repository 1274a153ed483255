"""The yard on this machine: start what is not running, supervise it, stop what was started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from broker.app import make_app
from broker.embedded import embedded_redis
from core.errors import ClassyardError
from core.prepare import require_worker
from core.process import die_with_parent
from core.tracing import open_tracing
from db import workers
from db.migrate import migrate, require_schema
from db.session import open_database
from producer.submit import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from core.settings import Settings
    from db.session import Database

#: Seconds between the restarts of a service that keeps dying, at first and at most.
FIRST_RESTART, LAST_RESTART = 1.0, 30.0
#: Seconds a service must live for its next death to count as a first one.
STEADY = 60.0
#: Seconds for a service to stop by itself after the worker's own grace time.
STOP_EXTRA: Final = 10.0
#: Bytes of a log above which the next start begins a new one and keeps the old one as `.log.1`.
MOST_LOG: Final = 64 * 2**20


@dataclass(slots=True)
class Service:
    """A program that is started again when it dies."""

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    stop_seconds: float
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _output: IO[bytes] | None = field(default=None, repr=False)
    _started: float = 0.0
    _restart_at: float = 0.0
    _asked: bool = False

    def start(self) -> None:
        """Start the program; what it prints goes to its log file."""
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._output is None and self.log.exists() and self.log.stat().st_size > MOST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._output = self._output or self.log.open("ab")
        self._process = subprocess.Popen(  # noqa: S603
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self.environment,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in good order
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here at this moment
        )
        self._started = time.monotonic()
        self._asked = False

    def supervise(self) -> str:
        """Start the program again if it died, later each time; return what happened, or nothing."""
        process = self._process
        if process is None or process.poll() is None:
            return ""
        now = time.monotonic()
        if not self._restart_at:
            self.restarts = 0 if now - self._started > STEADY else self.restarts
            wait = min(LAST_RESTART, FIRST_RESTART * 2**self.restarts)
            self._restart_at = now + wait
            return f"{self.name} ended with {process.returncode}: starting it again in {wait:.0f} s"
        if now < self._restart_at:
            return ""
        self._restart_at = 0.0
        self.restarts += 1
        self.start()
        return f"{self.name} started again"

    @property
    def exit_code(self) -> int | None:
        """How the program ended, None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def state(self) -> str:
        """What a person wants to know about the program, in two or three words."""
        if self._process is None:
            return "stopped"
        now = time.monotonic()
        if self._restart_at:
            return f"starts again in {max(0.0, self._restart_at - now):.0f} s"
        return f"up {now - self._started:.0f} s" if self.exit_code is None else "ended"

    def ask_to_stop(self) -> None:
        """Ask the program to end, without waiting for it; once, for twice means at once."""
        if not self._asked and self._process is not None and self._process.poll() is None:
            self._asked = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop the program in good order, then by force."""
        self.ask_to_stop()
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            try:
                process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None


@contextmanager
def open_desk(settings: Settings, *, own_redis: bool = True) -> Iterator[Desk]:
    """Open database and broker; an embedded Redis is started if it does not run.

    The SQLite database in HOME is brought to this version's schema; another one must have been
    migrated by whoever owns it.

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
def open_record(settings: Settings) -> Iterator[Database]:
    """Open the database alone: reading needs no Redis. Migrates as `open_desk` does."""
    database = open_database(settings.database)
    try:
        if settings.database_url:
            require_schema(database)
        else:
            migrate(database)
        yield database
    finally:
        database.close()


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
    )


def worker_command(*flags: str) -> list[str]:
    """Return the command line of a worker; the app brings pool, queue and concurrency.

    Raises:
        ClassyardError: if only the producer is installed here.
    """
    require_worker()
    # -P: a folder of the user's that happens to be called "worker" must not be taken for ours.
    return [sys.executable, "-P", "-m", "worker", *flags]


def wait_for_worker(desk: Desk, service: Service, seconds: float = 60) -> None:
    """Wait until a worker has arrived.

    Raises:
        ClassyardError: if it ended instead, or did not arrive in time.
    """
    deadline = time.monotonic() + seconds
    settings = desk.settings
    while not desk.database.read(workers.live_slots, settings.dead_after, settings.queue):
        if service.exit_code is not None or time.monotonic() > deadline:
            raise ClassyardError(f"the worker did not start: see {service.log}")
        time.sleep(0.05)
