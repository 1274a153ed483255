"""At most so many requests at once and per second to one host: be a polite guest, and survive a slow one."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Hosts that nobody uses and whose pace is still remembered.
_MOST_IDLE: Final = 1024


class HostGate:
    """Hands out slots per host; forgets a host when nobody uses or awaits one and its pace is over.

    Args:
        per_host: slots of one host.
        patience: seconds to wait for a slot or a turn.
        rate: requests per second to one host; 0: as many as the slots give.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        per_host: int,
        patience: float,
        rate: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_host = per_host
        self._patience = patience
        self._gap = 1 / rate if rate else 0.0
        self._clock = clock
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def slot(self, host: str, gap: float = 0.0) -> Iterator[None]:
        """Hold one of the host's slots, waiting first for it and for the host's next turn.

        Args:
            host: whose slot.
            gap: seconds that the host itself asks for between two requests.

        Raises:
            Refused: TIMEOUT_TOTAL, neither came within the gate's patience.
        """
        with self._lock:
            entry = self._hosts.setdefault(host, _Host(self._per_host))
            entry.users += 1
        try:
            if not entry.free.acquire(timeout=self._patience):
                raise self._busy()
            try:
                self._await_turn(entry, max(gap, self._gap))
                yield
            finally:
                entry.free.release()
        finally:
            self._leave(host, entry)

    def hush(self, host: str, seconds: float) -> None:
        """Give no further turn for `host` for so long, because it said so."""
        with self._lock:
            if (entry := self._hosts.get(host)) is not None:
                entry.next_turn = max(entry.next_turn, self._clock() + seconds)

    def close(self) -> None:
        """End all waiting for turns."""
        self._closed.set()

    def _await_turn(self, entry: _Host, gap: float) -> None:
        with self._lock:
            now = self._clock()
            turn = max(now, entry.next_turn)
            if turn - now > self._patience:
                raise self._busy()
            if gap:
                entry.next_turn = turn + gap
        while (left := turn - self._clock()) > 0:
            if self._closed.wait(left):
                break

    def _busy(self) -> Refused:
        return Refused(Code.TIMEOUT_TOTAL, f"the host was busy for {self._patience:g} s")

    def _leave(self, host: str, entry: _Host) -> None:
        with self._lock:
            entry.users -= 1
            if not entry.users and entry.next_turn <= self._clock():
                del self._hosts[host]
            elif len(self._hosts) > _MOST_IDLE:
                now = self._clock()
                for name, other in list(self._hosts.items()):
                    if not other.users and other.next_turn <= now:
                        del self._hosts[name]


class _Host:
    """The slots of one host, how many threads use or await them, and when the next may ask."""

    def __init__(self, per_host: int) -> None:
        self.free = threading.Semaphore(per_host)
        self.users = 0
        self.next_turn = 0.0
