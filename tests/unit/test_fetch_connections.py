"""Connections: lent to one request at a time, used again for the same origin, closed when spent or old."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from worker.fetch.connections import KEEP_ALIVE, MOST_IDLE, Connections

if TYPE_CHECKING:
    from worker.fetch.connection import Connection, Origin

HERE = ("https", "here.example.org", 443)
THERE = ("https", "there.example.org", 443)


class Line:
    """A connection that tells what was done to it."""

    free, stale = True, False
    closed = interrupted = 0

    def is_free(self) -> bool:
        return self.free

    def is_stale(self) -> bool:
        return self.stale

    def close(self) -> None:
        self.closed += 1

    def interrupt(self) -> None:
        self.interrupted += 1


class Lender:
    """Connections that lead nowhere and a clock that is set by hand."""

    def __init__(self) -> None:
        self.made: list[Line] = []
        self.now = 0.0
        self.connections = Connections(self.dial, lambda: self.now)

    def dial(self, origin: Origin, deadline: float) -> Connection:
        self.made.append(Line())
        return cast("Connection", self.made[-1])

    def use(self, origin: Origin) -> Line:
        """Ask once; return what was lent."""
        with self.connections.lend(origin, 1) as lent:
            return cast("Line", lent)

    def closed(self) -> list[int]:
        return [line.closed for line in self.made]


def test_the_one_used_last_is_lent_again_to_its_origin_only() -> None:
    lender = Lender()
    lend = lender.connections.lend
    with lend(HERE, 1) as first, lend(HERE, 1) as second, lend(THERE, 1) as other:
        assert len({first, second, other}) == 3
    with lend(HERE, 1) as again, lend(HERE, 1) as last, lend(THERE, 1) as there:
        assert (again, last, there) == (first, second, other)
    assert len(lender.made) == 3


def test_what_was_idle_for_too_long_is_closed_by_any_request() -> None:
    lender = Lender()
    lender.use(HERE)
    lender.now = KEEP_ALIVE - 1
    lender.use(THERE)
    assert lender.closed() == [0, 0]
    lender.now = KEEP_ALIVE + 1
    lender.use(THERE)
    assert lender.closed() == [1, 0]


def test_no_more_are_kept_than_allowed() -> None:
    lender = Lender()
    for number in range(MOST_IDLE + 5):
        lender.use(("http", f"{number}.example.org", 80))
    assert lender.closed() == [1] * 5 + [0] * MOST_IDLE


def test_what_is_not_free_after_a_request_is_closed() -> None:
    lender = Lender()
    with lender.connections.lend(HERE, 1) as lent:
        cast("Line", lent).free = False
    assert lender.closed() == [1]
    lender.use(HERE)
    assert lender.closed() == [1, 0]


def test_a_failed_request_gives_its_connection_back() -> None:
    lender = Lender()
    with suppress(OSError), lender.connections.lend(HERE, 1):
        raise OSError
    lender.use(HERE)
    assert lender.closed() == [0]


def test_one_that_its_server_closed_meanwhile_is_not_lent() -> None:
    lender = Lender()
    with lender.connections.lend(HERE, 1), lender.connections.lend(HERE, 1):
        pass
    for line in lender.made:
        line.stale = True
    lender.use(HERE)
    assert lender.closed() == [1, 1, 0]


def test_close_ends_the_waiting_of_those_that_are_lent_and_keeps_none() -> None:
    lender = Lender()
    idle = lender.use(HERE)
    with lender.connections.lend(THERE, 1) as lent:
        lender.connections.close()
        assert (idle.closed, cast("Line", lent).interrupted, cast("Line", lent).closed) == (1, 1, 0)
    assert lender.closed() == [1, 1]
    late = lender.use(HERE)
    assert (late.interrupted, late.closed) == (1, 1)
