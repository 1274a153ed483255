"""What runs for every chunk or in every sweep finds its rows by an index, whatever a job's size."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from broker.sweep import sweep
from core.errors import Code
from core.settings import Settings
from core.types import Failure
from db import chunks, recovery, reuse, workers
from tests.support.record import ANN, Record, grouped
from tests.support.yard import Yard

#: What follows it in a plan is the index that a table is read by.
INDEX = re.compile(
    r"(?:USING (?:COVERING )?INDEX|USING|Index Scan using|Index Scan on) (\w+[\w ]*?)(?= \(| on |  |$)"
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.session import Database


@contextmanager
def plans(database: Database) -> Iterator[list[str]]:
    """Collect the plans of all statements meanwhile; PostgreSQL avoids reading whole tables from now on."""
    found: list[str] = []

    def explain(connection: Any, _: Any, statement: str, values: Any, __: Any, many: bool) -> None:
        if many or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            return
        cursor = connection.connection.driver_connection.cursor()
        if database.dialect == "sqlite":
            rows = cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            found.extend(f"{row[3]} in {statement}" for row in rows)
        else:
            cursor.execute("SET enable_seqscan = off")
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


@pytest.mark.parametrize("statistics", [False, True])
def test_one_chunk_is_found_by_its_key_and_answers_by_their_uri(
    database: Database, statistics: bool
) -> None:
    """With and without statistics: PostgreSQL gathers none in a table's first minute."""
    record = Record(database)
    job = record.job(*grouped(6000, 20))
    sent = record.take(job, 200)
    for one in sent[:-1]:
        record.complete(record.held(one), one)
    if statistics:
        record.change("ANALYZE")
    with plans(database) as found:
        claimed = record.held(sent[-1])
        database.read(reuse.by_uri, sent[-1].terms, sent[-1].uris)
        record.complete(claimed, sent[-1])
    used = {index for plan in found for index in INDEX.findall(plan)}
    key = {"INTEGER PRIMARY KEY", "pk_chunks", "pk_jobs"}
    assert used - key == {"ix_chunks_job_id_status_seq", "ix_results_uri"}
    by_job = [plan for plan in found if "ix_chunks_job_id_status_seq" in plan]
    assert len(by_job) == 1  # the next chunk's
