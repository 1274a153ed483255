"""Connections: lent to one request at a time, used again for the same origin, closed when old."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from worker.fetch.connections import KEEP_ALIVE, MOST_IDLE, Connections

if TYPE_CHECKING:
    from httpcore import ConnectionPool

HERE = ("https", "here.example.org", 443)
THERE = ("https", "there.example.org", 443)


class Pool:
    """Tells how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class Lender:
    """Connections of made-up pools and a clock that is set by hand."""

    def __init__(self) -> None:
        self.made: list[Pool] = []
        self.now = 0.0
        self.connections = Connections(self.new, lambda: self.now)

    def new(self) -> ConnectionPool:
        self.made.append(Pool())
        return cast("ConnectionPool", self.made[-1])


def test_the_one_used_last_is_lent_again_to_its_origin_only() -> None:
    lender = Lender()
    lend = lender.connections.lend
    with lend(HERE) as first, lend(HERE) as second, lend(THERE) as other:
        assert len({first, second, other}) == 3
    with lend(HERE) as again, lend(HERE) as last, lend(THERE) as there:
        assert (again, last, there) == (first, second, other)
    assert len(lender.made) == 3


def test_what_was_idle_for_too_long_is_closed_by_any_request() -> None:
    lender = Lender()
    with lender.connections.lend(HERE):
        pass
    lender.now = KEEP_ALIVE - 1
    with lender.connections.lend(THERE):
        assert [pool.closed for pool in lender.made] == [0, 0]
    lender.now = KEEP_ALIVE + 1
    with lender.connections.lend(THERE):
        assert [pool.closed for pool in lender.made] == [1, 0]


def test_no_more_are_kept_than_allowed() -> None:
    lender = Lender()
    for number in range(MOST_IDLE + 5):
        with lender.connections.lend(("http", f"{number}.example.org", 80)):
            pass
    assert [pool.closed for pool in lender.made] == [1] * 5 + [0] * MOST_IDLE


def test_a_failed_request_gives_its_connection_back() -> None:
    lender = Lender()
    with pytest.raises(OSError, match="broke"), lender.connections.lend(HERE):
        raise OSError("broke")
    with lender.connections.lend(HERE):
        assert len(lender.made) == 1


def test_close_ends_those_too_that_are_lent() -> None:
    lender = Lender()
    with lender.connections.lend(HERE):
        pass
    with lender.connections.lend(THERE):
        lender.connections.close()
        assert [pool.closed for pool in lender.made] == [1, 1]
