"""Chunks that somebody marked queued and then died: sent or not, nobody knows, they are sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from db import recovery, workers
from tests.support.record import ANN, BOB, Record, grouped

if TYPE_CHECKING:
    from db.session import Database


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


@pytest.mark.parametrize("whole_worker", [False, True])
def test_what_the_dead_may_have_taken_along_unsent_comes_back(
    record: Record, whole_worker: bool
) -> None:
    """Between the COMMIT that marks the next chunk queued and its sending nobody holds a chunk."""
    job = record.job(*grouped(6, 1))
    sent = record.take(job, 4)
    for chunk, owner in ((sent[0], ANN), (sent[1], BOB)):
        record.arrive(owner)
        assert record.complete(record.held(chunk, owner), chunk, owner)
    assert record.database.read(recovery.holding_children, "ann") == [ANN.child]
    if whole_worker:
        record.die(ANN)
        assert record.database.write(recovery.release_dead, 35) == 1
    else:
        assert record.database.write(recovery.release_children, "ann", [ANN.child]) == 1
    [row] = record.sql("SELECT * FROM chunks WHERE status = 'pending'")
    assert (row.seq, row.worker, row.child, row.attempts, row.error) == (4, None, None, 0, None)


def test_what_a_worker_sent_before_it_left_is_on_its_way(record: Record) -> None:
    job = record.job(*grouped(2, 1))
    [sent] = record.take(job, 1)
    record.arrive(ANN)
    assert record.complete(record.held(sent, ANN), sent, ANN)
    record.database.write(workers.leave, "ann")
    assert record.database.write(recovery.release_dead, 35) == 0
    assert [row.status for row in record.sql("SELECT status FROM chunks ORDER BY seq")] == [
        "done", "queued",
    ]  # fmt: skip
