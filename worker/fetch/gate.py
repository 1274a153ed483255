"""At most so many requests at once and per second to one host: be a polite guest, and survive a slow one."""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.errors import Code
from worker.fetch.board import Board
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.limits import FetchLimits

#: Seconds between two looks for a free slot, at most. Chance decides between the children, so that
#: none is left out; whoever freed a slot must not be the first to know.
_LOOK: Final = 0.008
#: Tries' lengths that a thread waits for one of a busy host's slots, or for its turn.
_PATIENCE: Final = 4


class HostGate:
    """Hands out slots per host, on a board that all children of a worker share.

    Args:
        limits: how many slots a host has, how often it may be asked, how long a try takes.
        board: where slots and turns are written down; by default one that nobody shares.
        clock: seconds that only grow, the same for all who share the board.
    """

    def __init__(
        self,
        limits: FetchLimits,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = limits.per_host
        self._gap = 1 / limits.rate_per_host if limits.rate_per_host else 0.0
        self._patience = _PATIENCE * limits.total_timeout
        self._board = board or Board()
        self._clock = clock
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    @contextmanager
    def slot(self, host: str, gap: float = 0.0) -> Iterator[None]:
        """Hold one of the host's slots, waiting first for it and for the host's next turn.

        Args:
            host: whose slot.
            gap: seconds that the host itself asks for between two requests.

        Raises:
            Refused: TIMEOUT_TOTAL, neither came within the gate's patience.
        """
        # One thread per child looks and waits, the others stand behind it: so however many there
        # are, a turn is awaited for as long as it takes each child to ask once.
        with self._line(host) as line, line.first:
            slot = self._await_slot(host)
            try:
                self._await_turn(host, max(gap, self._gap))
            except BaseException:
                self._board.free_slot(slot)
                raise
        try:
            yield
        finally:
            self._board.free_slot(slot)

    def hush(self, host: str, seconds: float) -> None:
        """Give nobody a turn at `host` for so long, because it said so."""
        self._board.hush(host, self._clock() + seconds)

    def close(self) -> None:
        """End all waiting."""
        self._closed.set()

    def _await_slot(self, host: str) -> int:
        until = self._clock() + self._patience
        while (slot := self._board.take_slot(host, self._slots)) is None:
            if self._clock() > until:
                raise self._busy()
            self._wait(random.uniform(0.25, 1) * _LOOK)  # noqa: S311 - fairness, not a secret
        return slot

    def _await_turn(self, host: str, gap: float) -> None:
        while True:
            now = self._clock()
            turn = self._board.take_turn(host, gap, now, self._patience)
            if turn is None:
                raise self._busy()
            if turn <= now:
                return
            while (left := turn - self._clock()) > 0:
                self._wait(left)
            # Meanwhile the host may have asked for silence.
            if self._board.silent_until(host) <= turn:
                return

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise Refused(Code.INTERNAL, "the fetcher is closed")

    def _busy(self) -> Refused:
        return Refused(Code.TIMEOUT_TOTAL, f"the host was busy for {self._patience:g} s")

    @contextmanager
    def _line(self, host: str) -> Iterator[_Line]:
        with self._lock:
            line = self._lines.setdefault(host, _Line())
            line.length += 1
        try:
            yield line
        finally:
            with self._lock:
                line.length -= 1
                if not line.length:
                    del self._lines[host]


class _Line:
    """The threads of this process that want to ask one host."""

    def __init__(self) -> None:
        self.first = threading.Lock()
        self.length = 0
