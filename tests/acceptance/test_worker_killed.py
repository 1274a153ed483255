"""Every position gets its one row, though the worker is killed in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.stub import expected

if TYPE_CHECKING:
    from tests.support.yard import Yard

LABELS = [str(digit) for digit in range(10)]


def test_a_killed_workers_chunks_are_finished_by_the_next(yard: Yard) -> None:
    uris = [f"stub://sleep/0.02/{number}" for number in range(400)]
    first = yard.worker()
    job = yard.submit(uris, "--chunk-size", "20")
    yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0] >= 60, what="some rows")
    first.kill()
    assert yard.sql("SELECT count(*) FROM results")[0][0] < 400
    yard.worker()
    assert yard.finish(job) == "completed"
    rows = yard.sql("SELECT position, uri, class_index FROM results ORDER BY position")
    assert [row.position for row in rows] == list(range(400))
    assert [row.uri for row in rows] == uris
    assert all(row.class_index == expected(row.uri, LABELS) for row in rows)
