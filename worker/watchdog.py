"""Watchdog: ends a process in which nothing moves any more, so that its work goes to another.

A decoder or a driver that hangs inside C code never gives Python a turn; hence `faulthandler`, whose
timer is a thread of its own below Python.
"""

from __future__ import annotations

import faulthandler
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

#: Longest time, in seconds, between two settings of the timer, by which it may run out early: setting
#: it ends a thread and starts one.
_REARM: Final = 10.0


class Watchdog:
    """While entered: no `beat` for `timeout` seconds ends the process, stacks on stderr, status 1.

    The timer is the process's only one: do not nest.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._rearm = min(_REARM, timeout / 10)
        self._armed = 0.0

    def __enter__(self) -> Self:
        self._arm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        faulthandler.cancel_dump_traceback_later()

    def beat(self) -> None:
        """Say that something moved."""
        if monotonic() - self._armed >= self._rearm:
            self._arm()

    def _arm(self) -> None:
        self._armed = monotonic()
        # The process's first stderr: Celery or a test may have put an object without a file there.
        file = sys.__stderr__ or sys.stderr
        faulthandler.dump_traceback_later(self._timeout, exit=True, file=file)
