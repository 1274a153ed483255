"""Lookups of answers that are there: right, and by their index on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from db import chunks, reuse
from tests.support.record import REQUEST, Record, uris

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.session import Database

LONG = "https://example.org/" + "%E4%B8%80" * 900  # longer than an entry of PostgreSQL's B-tree


def plan(database: Database, look: Callable[[], Any]) -> str:
    """How the database goes about the SELECT that `look` makes."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
        seen.append((statement, given))

    event.listen(database.engine, "before_cursor_execute", note)
    look()
    event.remove(database.engine, "before_cursor_execute", note)
    statement, given = next(one for one in seen if one[0].startswith("SELECT"))

    def explain(connection: Any) -> str:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
        else:
            # Few rows fit few pages: only without the shorter way is the index of any use.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", given)
        return "\n".join(str(row) for row in rows)

    return database.write(explain)


def test_answers_are_found_by_uri_and_by_content(database: Database) -> None:
    record = Record(database)
    job = record.job([*uris(2), LONG])
    other = record.job(uris(3), request=replace(REQUEST, fingerprint="e" * 32))
    many = record.job(uris(1000, start=10))
    for each in (job, other, many):
        record.work_off(each)
    database.write(reuse.index_contents)
    terms = database.read(chunks.read_terms, job)
    assert terms is not None
    rows = record.rows(job)
    asked = [*uris(3), LONG]

    found = database.read(reuse.by_uri, terms, asked)
    assert sorted(found) == sorted([*uris(2), LONG])  # the third one is the other job's
    best = found[LONG].predictions[0]
    assert (best.class_index, best.label) == (rows[2].class_index, rows[2].label)
    assert found[LONG].content_hash == rows[2].content_hash
    known = database.read(reuse.by_content, terms, rows[0].content_hash)
    assert known == found[uris(2)[0]]
    assert database.read(reuse.by_content, replace(terms, fingerprint="d" * 32), "x") is None
    assert database.read(reuse.by_content, replace(terms, top_k=9), rows[0].content_hash) is None
    assert database.read(reuse.done_uris, "digits", "e" * 32, asked) == set(uris(3))

    looks = {
        "ix_results_uri": [
            lambda: database.read(reuse.by_uri, terms, asked),
            lambda: database.read(reuse.done_uris, "digits", "f" * 32, asked),
        ],
        "ix_results_content_hash": [
            lambda: database.read(reuse.by_content, terms, rows[0].content_hash)
        ],
    }
    for index, lookups in looks.items():
        for look in lookups:
            assert index in plan(database, look)
