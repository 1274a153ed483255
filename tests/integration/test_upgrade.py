"""A database of the first schema, with rows in it, becomes one of today's without losing any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import command
from sqlalchemy import text

from core.types import JobStatus
from db import chunks, jobs, queries, retry
from db.chunks import Owner
from db.migrate import _config, head, migrate, revision
from db.session import open_database
from tests.support.record import Record
from worker.stub import expected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from db.session import Database

LONG = "https://example.org/" + "%41%42" * 1300
JOBS = """
INSERT INTO jobs (id, name, model, model_fingerprint, queue, priority, top_k, options, status, total,
                  chunks, created_at, touched_at)
VALUES (1, 'old', 'digits', 'f', 'classyard', 5, 3, '{"roots": ["/pictures"]}', 'running', 6, 2,
        '2026-01-02 03:04:05.000000', '2026-01-02 03:04:05.000000')
"""
CHUNKS = """
INSERT INTO chunks (id, job_id, seq, size, first_position, uris, digest, status, attempts, ok, failed)
VALUES (:id, 1, :seq, :size, :first, :uris, :digest, :status, 1, :ok, :failed)
"""
RESULTS = """
INSERT INTO results (job_id, position, chunk_id, uri, status, class_index, label, score, predictions,
                     error_code, error, content_hash, model, classified_at)
VALUES (1, :position, 1, :uri, :status, :index, :label, :score, :predictions, :code, :error, :hash,
        'digits', '2026-01-02 03:04:05.000000')
"""


def at_first_schema(database: Database) -> None:
    config = _config()

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    database.write(upgrade)


def fill(connection: Connection) -> None:
    """A job of six images: three have labels (one with a very long URI), one failed, two wait."""
    connection.exec_driver_sql(JOBS)
    for values in (
        {"id": 1, "seq": 0, "size": 4, "first": 0, "uris": None, "digest": "d", "status": "done",
         "ok": 3, "failed": 1},
        {"id": 2, "seq": 1, "size": 2, "first": 4, "uris": '["stub://4","stub://5"]',
         "digest": "e", "status": "pending", "ok": 0, "failed": 0},
    ):  # fmt: skip
        connection.execute(text(CHUNKS), values)
    for position, uri in enumerate(["stub://0", LONG, "stub://2", "stub://3"]):
        failed = position == 3
        values: dict[str, Any] = dict.fromkeys(
            ("index", "label", "score", "predictions", "code", "error", "hash")
        )
        if failed:
            values |= {"code": "http_5xx", "error": "HTTP 503"}
        else:
            values |= {"index": 1, "label": "one", "score": 0.5, "hash": f"{position:032}"}
            values["predictions"] = '[[1, "one", 0.5], [2, "two", 0.25], [3, "three", 0.125]]'
        values |= {"position": position, "uri": uri, "status": "failed" if failed else "ok"}
        connection.execute(text(RESULTS), values)
    if connection.dialect.name == "postgresql":
        for table in ("jobs", "chunks"):
            connection.exec_driver_sql(f"SELECT setval('{table}_id_seq', 2)")


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables there are."""

    def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
        def rows(table: str, order: str) -> Sequence[Any]:
            return connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY {order}").all()

        tables = (("jobs", "id"), ("chunks", "id"), ("results", "position"))
        views = (("predictions", "position, rank"), ("counters", "name"))
        return {table: [row._asdict() for row in rows(table, by)] for table, by in tables + views}

    return database.read(read)


def test_an_old_database_is_carried_over(database_url: str) -> None:
    database = open_database(database_url)
    at_first_schema(database)
    database.write(fill)
    before = everything(database)
    assert [len(before[table]) for table in ("jobs", "chunks", "results", "predictions")] == [
        1, 2, 4, 9,
    ]  # fmt: skip
    assert migrate(database) == head() == revision(database)
    after = everything(database)
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]] if rows else []
        assert kept == rows, table
    assert {row["attempts"] for row in after["results"]} == {1}
    assert {(bool(row["retry"]), row["reused"]) for row in after["chunks"]} == {(False, 0)}
    work_off(database)
    database.close()


def work_off(database: Database) -> None:
    """The old job goes on where it stood, and its failed image can run again."""
    record = Record(database)
    owner = Owner("new", 1)
    assert record.progress(1).pending == 2
    for sent in record.take(1):
        assert record.complete(record.held(sent, owner), sent, owner) == []
    assert database.write(jobs.close_if_done, 1)
    assert record.progress(1).status is JobStatus.COMPLETED_WITH_ERRORS
    assert database.write(retry.retry_slice, 1, None, -1, 10).images == 1
    (sent,) = record.take(1)
    assert record.complete(record.held(sent, owner), sent, owner) == []
    assert database.write(jobs.close_if_done, 1)
    assert database.read(queries.progress, 1).status is JobStatus.COMPLETED
    rows = record.rows(1)
    assert [row.attempts for row in rows] == [1, 1, 1, 2, 1, 1]
    assert rows[3].class_index == expected("stub://3", [str(digit) for digit in range(10)])
    terms = database.read(chunks.read_terms, 1)
    assert terms is not None
    assert (terms.roots, terms.reuse, terms.error_limit) == (("/pictures",), False, None)
