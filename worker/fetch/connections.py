"""Connections that are kept for the next image, and lent to one request at a time.

httpcore's own pool looks at each of its connections for each of them, twice per request: with 48 that is
half of what a request costs (docs/benchmarks.md). So each of its pools here holds one connection only.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpcore import ConnectionPool

#: Most connections that wait for a request, and seconds after which one is closed.
MOST_IDLE: Final = 64
KEEP_ALIVE: Final = 10.0

#: Scheme, host and port.
Origin = tuple[str, str, int]


class _Idle(NamedTuple):
    since: float
    origin: Origin
    pool: ConnectionPool


class Connections:
    """Lends connections; thread-safe."""

    def __init__(self, new: Callable[[], ConnectionPool], clock: Callable[[], float]) -> None:
        """`new` makes a pool of one connection, which is opened by the first request."""
        self._new = new
        self._clock = clock
        self._lock = Lock()
        self._idle: list[_Idle] = []  # the longest idle one first
        self._lent: set[ConnectionPool] = set()

    @contextmanager
    def lend(self, origin: Origin) -> Iterator[ConnectionPool]:
        """Lend the connection to `origin` that was used last, or a new one."""
        pool = self._take(origin)
        try:
            yield pool
        finally:
            self._give_back(origin, pool)

    def close(self) -> None:
        """Close all connections, those too that are lent: whoever waits for a server waits no longer."""
        with self._lock:
            pools = [*self._lent, *(idle.pool for idle in self._idle)]
            self._idle.clear()
        for pool in pools:
            pool.close()

    def _take(self, origin: Origin) -> ConnectionPool:
        with self._lock:
            found = next(
                (place for place in reversed(range(len(self._idle)))
                 if self._idle[place].origin == origin),
                None,
            )  # fmt: skip
            pool = self._new() if found is None else self._idle.pop(found).pool
            self._lent.add(pool)
            old = self._too_old()
        for one in old:
            one.close()
        return pool

    def _give_back(self, origin: Origin, pool: ConnectionPool) -> None:
        with self._lock:
            self._lent.discard(pool)
            self._idle.append(_Idle(self._clock(), origin, pool))
            old = self._too_old()
        for one in old:
            one.close()

    def _too_old(self) -> list[ConnectionPool]:
        """Remove and return what has been idle for too long, or is too much."""
        before = self._clock() - KEEP_ALIVE
        old = []
        while self._idle and (self._idle[0].since < before or len(self._idle) > MOST_IDLE):
            old.append(self._idle.pop(0).pool)
        return old
