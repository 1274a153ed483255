"""Connections that are kept for the next image, and lent to one request at a time."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.fetch.connection import Connection, Origin

#: Most connections that wait for a request, and seconds after which one is closed.
MOST_IDLE: Final = 64
KEEP_ALIVE: Final = 10.0


class _Idle(NamedTuple):
    since: float
    origin: Origin
    connection: Connection


class Connections:
    """Lends connections; thread-safe.

    Args:
        dial: opens a connection to an origin before a deadline.
        clock: seconds that only grow.
    """

    def __init__(
        self, dial: Callable[[Origin, float], Connection], clock: Callable[[], float]
    ) -> None:
        self._dial = dial
        self._clock = clock
        self._lock = Lock()
        self._idle: list[_Idle] = []  # the longest idle one first
        self._lent: set[Connection] = set()
        self._closed = False

    @contextmanager
    def lend(self, origin: Origin, deadline: float) -> Iterator[Connection]:
        """Lend the connection to `origin` that was used last, or a new one; keep it if it is free."""
        connection = self._take(origin) or self._dial(origin, deadline)
        with self._lock:
            self._lent.add(connection)
            if self._closed:
                connection.interrupt()
        try:
            yield connection
        finally:
            self._give_back(origin, connection)

    def close(self) -> None:
        """Close all; whoever waits for a server waits no longer."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._lent:
                connection.interrupt()
        for one in idle:
            one.connection.close()

    def _take(self, origin: Origin) -> Connection | None:
        while True:
            with self._lock:
                self._close_old()
                found = next((one for one in reversed(self._idle) if one.origin == origin), None)
                if found is None:
                    return None
                self._idle.remove(found)
            if not found.connection.is_stale():
                return found.connection
            found.connection.close()

    def _give_back(self, origin: Origin, connection: Connection) -> None:
        with self._lock:
            self._lent.discard(connection)
            if connection.is_free() and not self._closed:
                self._idle.append(_Idle(self._clock(), origin, connection))
                self._close_old()
                return
        connection.close()

    def _close_old(self) -> None:
        """Close what has been idle for too long, or is too much."""
        before = self._clock() - KEEP_ALIVE
        while self._idle and (self._idle[0].since < before or len(self._idle) > MOST_IDLE):
            self._idle.pop(0).connection.close()
