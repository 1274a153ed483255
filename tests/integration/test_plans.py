"""What runs for every chunk or in every sweep finds its rows by an index, whatever a job's size."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from broker.sweep import sweep
from core.errors import Code
from core.settings import Settings
from core.types import Failure
from db import chunks, recovery, workers
from tests.support.record import ANN, Record, grouped
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.session import Database


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """Collect the plans of all statements meanwhile; PostgreSQL avoids reading whole tables."""
    found: list[str] = []

    def explain(connection: Any, _: Any, statement: str, values: Any, __: Any, many: bool) -> None:
        if many or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        cursor = connection.connection.driver_connection.cursor()
        if database.dialect == "sqlite":
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            found.extend(f"{row[3]} in {statement}" for row in rows)
        else:
            cursor.execute("SET LOCAL enable_seqscan = off")
            rows = cursor.execute(f"EXPLAIN {statement}", values).fetchall()
            found.extend(f"{row[0]} in {statement}" for row in rows)

    event.listen(database.engine, "before_cursor_execute", explain)
    yield found
    event.remove(database.engine, "before_cursor_execute", explain)


def whole(found: list[str]) -> list[str]:
    """The plans that read all chunks or all results."""
    tables = ("chunks", "results")
    scans = tuple(f"{how} {table}" for table in tables for how in ("SCAN", "Seq Scan on"))
    # A partial index of what is held or in trouble is short.
    small = ("INDEX ix_chunks_held", "INDEX ix_chunks_tried")
    return [p for p in found if p.strip(" ->").startswith(scans) and not any(i in p for i in small)]


@pytest.fixture
def yard(settings: Settings) -> Iterator[Yard]:
    with Yard(settings) as opened:
        yield opened


def test_no_sweep_reads_all_chunks(yard: Yard) -> None:
    desk = yard.desk
    record = Record(desk.database)
    job = record.job(*grouped(40, 2))
    gone = record.job(*grouped(4, 2))
    for sent in record.take(job, 8):
        record.held(sent, ANN)
    record.change("UPDATE chunks SET attempts = 9 WHERE seq > 10")
    record.change("UPDATE jobs SET status = 'cancelled' WHERE id = :id", id=gone)
    with plans(desk.database) as found:
        done = sweep(desk.app, desk.database, desk.settings)
        desk.database.read(recovery.holding_children, ANN.worker)
        desk.database.write(recovery.release_children, ANN.worker, [1])
        desk.database.write(workers.leave, ANN.worker)
    assert (done.dead, done.cancelled) == (8, 2)
    assert done.resolved
    assert not whole(found)
    assert any("chunks" in plan for plan in found)


def test_no_chunk_on_its_way_reads_all_chunks(yard: Yard) -> None:
    desk = yard.desk
    record = Record(desk.database)
    job = record.job(*grouped(40, 2))
    with plans(desk.database) as found:
        first, second = record.take(job, 2)
        claimed = record.held(first, ANN)
        assert record.complete(claimed, first, ANN)
        assert record.claim(first, ANN) is None
        desk.database.read(chunks.refused, job, first.chunk_id, first.digest)
        failure = Failure(Code.INTERNAL, "no")
        desk.database.write(chunks.hand_back, record.held(second, ANN), ANN, failure)
    assert not whole(found)
    assert any("chunks" in plan for plan in found)
