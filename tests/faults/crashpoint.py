"""`python -m tests.faults.crashpoint POINT TIMES worker|producer ...`: a program that dies at a point.

The product holds no hooks: this module puts itself around its functions and then runs it. Each death
leaves a file in HOME, so that all processes together die no more than TIMES times.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import db.chunks
import db.jobs
from broker.dispatch import Dispatcher
from db.session import Database
from worker.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

SKEW = 600.0


def main() -> None:
    point, times, module, *words = sys.argv[1:]
    install(point, int(times))
    sys.argv = [module, *words]
    importlib.import_module(f"{module}.__main__").main()


def install(point: str, times: int) -> None:  # noqa: PLR0912  (one line per point)
    def die(pid: int = 0, place: str = "") -> None:
        # Once per place: who kills whatever works on the same images again and again is told that
        # these images kill, and so it should be.
        if place and not created(f"{point}.at.{place}"):
            return
        if take(point, times):
            os.kill(pid or os.getpid(), signal.SIGKILL)
            time.sleep(5)

    match point:
        case "before_claim":  # with the parent: the message is handed out, the chunk not claimed
            wrap_write(db.chunks.claim, before=lambda: die(os.getppid()))
        case "before_commit":
            wrap_write(
                db.chunks.complete, inside=lambda claimed, *_: die(place=str(claimed.chunk_id))
            )
        case "after_commit":
            wrap_write(db.chunks.complete, after=die)
        case "mid_insert":
            half_insert(die)
        case "before_send":  # the next chunk is marked queued, its message not sent
            before_going_on(die)
        case "after_job_tx":
            wrap_write(db.jobs.create, after=die)
        case "mid_submit":
            wrap_write(db.jobs.add_chunks, after=die)
        case "before_publish":
            wrap_write(db.jobs.seal, after=die)
        case "mid_publish":
            around(Dispatcher, "_publish", die, count=2)
        case "after_publish":
            around(Dispatcher, "send", die)
        case "short_watchdog":  # the settings would not allow it so short
            shorten_watchdog()
        case "full_disk":  # a file that may not grow is an error, not a deadly signal
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        case "clock_ahead":
            skew_clock(SKEW)
        case "clock_behind":
            skew_clock(-SKEW)
        case _:
            sys.exit(f"unknown point {point}")


def take(point: str, times: int) -> bool:
    """Whether this is one of the first `times` arrivals at the point, over all processes."""
    return any(created(f"{point}.{number}") for number in range(times))


def created(name: str) -> bool:
    """Whether this is the first call with this name, over all processes."""
    try:
        (Path(os.environ["CLASSYARD_HOME"]) / name).open("x").close()
    except FileExistsError:
        return False
    return True


def wrap_write(
    work: Callable[..., Any],
    before: Callable[[], None] | None = None,
    inside: Callable[..., None] | None = None,
    after: Callable[[], None] | None = None,
) -> None:
    for name in ("write", "write_one"):
        _wrap_method(name, work, before, inside, after)


def _wrap_method(
    method: str,
    work: Callable[..., Any],
    before: Callable[[], None] | None,
    inside: Callable[..., None] | None,
    after: Callable[[], None] | None,
) -> None:
    plain = getattr(Database, method)

    def write(self: Database, given: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # By name: Dispatcher and runtime hand over the function itself.
        if getattr(given, "__name__", "") != work.__name__:
            return plain(self, given, *args, **kwargs)

        def dying(connection: Any, *args: Any, **kwargs: Any) -> Any:
            done = given(connection, *args, **kwargs)
            if inside:
                inside(*args)
            return done

        if before:
            before()
        result = plain(self, dying, *args, **kwargs)
        if after:
            after()
        return result

    setattr(Database, method, write)


def half_insert(die: Callable[..., None]) -> None:
    plain = db.chunks.insert_rows

    def insert_rows(connection: Any, table: Any, rows: Any, *rest: Any) -> None:
        plain(connection, table, rows[: len(rows) // 2], *rest)
        die(place="-".join(map(str, rows[0][:2])))
        plain(connection, table, rows[len(rows) // 2 :], *rest)

    db.chunks.insert_rows = insert_rows


def before_going_on(die: Callable[[], None]) -> None:
    from worker.runtime import Runtime

    plain = Runtime._go_on

    def go_on(self: Runtime, terms: Any, following: Any) -> None:
        if following:
            die()
        plain(self, terms, following)

    Runtime._go_on = go_on  # type: ignore[method-assign]


def around(owner: type, name: str, die: Callable[[], None], count: int = 1) -> None:
    plain = getattr(owner, name)
    calls = [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = plain(*args, **kwargs)
        calls[0] += 1
        if calls[0] == count:
            die()
        return result

    setattr(owner, name, call)


def shorten_watchdog() -> None:
    plain = Watchdog.__init__
    Watchdog.__init__ = lambda self, _timeout: plain(self, 2.0)  # type: ignore[method-assign]


def skew_clock(seconds: float) -> None:
    plain = time.time
    time.time = lambda: plain() + seconds
    # Taken by value at import, before us.
    for name in ("kombu.transport.redis", "celery.app.amqp"):
        module = importlib.import_module(name)
        if hasattr(module, "time") and callable(module.time):
            module.time = time.time


if __name__ == "__main__":
    main()
