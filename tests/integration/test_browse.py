"""Leafing through results: every order, both ways, ties included, is what sorting all rows gives."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert

from core.errors import NoSuchJobError
from db import browse, jobs
from db.browse import Choice, Mark, Order
from db.jobs import JobRequest
from db.models import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from db.session import Database

COUNT = 300
SIZE = 7
CHOICES = [
    Choice(),
    Choice(Order.SURE),
    Choice(Order.UNSURE),
    Choice(Order.SURE, min_score=0.3, max_score=0.6),
    Choice(Order.UNSURE, max_score=0.2),
    Choice(Order.SURE, label="b"),
    Choice(Order.UNSURE, label="b", min_score=0.5),
    Choice(Order.SURE, label="none of them"),
    Choice(Order.SURE, min_score=0.95, max_score=0.96),
    Choice(Order.FAILED),
    Choice(Order.FAILED, code="empty"),
]


def fill(connection: Connection) -> list[dict[str, Any]]:
    """Write one job's results: few scores, so that many are equal; and a neighbour's."""
    request = JobRequest("one", "digits", "f", "classyard", 5, options={"roots": ["/somewhere"]})
    chance = random.Random(4)
    rows: list[dict[str, Any]] = []
    for job_id in (jobs.create(connection, request), jobs.create(connection, request)):
        for position in range(COUNT):
            failed = chance.random() < 0.2
            rows.append(
                {
                    "job_id": job_id,
                    "position": position,
                    "chunk_id": 1,
                    "uri": f"file:///somewhere/{position}.png",
                    "status": "failed" if failed else "ok",
                    "label": None if failed else chance.choice("abcdefgh"),
                    "score": None if failed else chance.randrange(10) / 10,
                    "error_code": chance.choice(("empty", "truncated")) if failed else None,
                    "model": "digits",
                    "classified_at": datetime.now(UTC),
                }
            )
    connection.execute(insert(Result), rows)
    return [row for row in rows if row["job_id"] == rows[0]["job_id"]]


def wanted(rows: list[dict[str, Any]], choice: Choice) -> list[int]:
    """Return the positions as Python sorts them."""

    def fits(row: dict[str, Any]) -> bool:
        if choice.order == Order.POSITION:
            return True
        if choice.order == Order.FAILED:
            return row["status"] == "failed" and choice.code in {None, row["error_code"]}
        return (
            row["status"] == "ok"
            and choice.label in {None, row["label"]}
            and row["score"] >= (choice.min_score or 0)
            and row["score"] <= (1 if choice.max_score is None else choice.max_score)
        )

    def place(row: dict[str, Any]) -> tuple[Any, int]:
        key = {Order.POSITION: 0, Order.FAILED: row["error_code"]}.get(choice.order, row["score"])
        return key, row["position"]

    fitting = sorted(filter(fits, rows), key=place, reverse=choice.order == Order.SURE)
    return [row["position"] for row in fitting]


@pytest.fixture
def rows(database: Database) -> list[dict[str, Any]]:
    return database.write(fill)


def test_leaves_in_both_directions_are_the_sorted_rows(
    database: Database, rows: list[dict[str, Any]]
) -> None:
    job = rows[0]["job_id"]
    for choice in CHOICES:
        forward: list[list[int]] = []
        mark: Mark | None = None
        marks: list[Mark | None] = []
        while True:
            leaf = database.read(browse.leaf, job, choice, SIZE, after=mark)
            forward.append([row.position for row in leaf.rows])
            marks.append(leaf.before)
            if leaf.after is None:
                break
            mark = leaf.after
        assert list(chain.from_iterable(forward)) == wanted(rows, choice), choice
        assert [number for number, mark in enumerate(marks) if mark is None] == [0]
        for page, here in reversed(list(zip(forward[:-1], marks[1:], strict=True))):
            back = database.read(browse.leaf, job, choice, SIZE, before=here)
            assert [row.position for row in back.rows] == page, choice
            assert (back.before is None) == (page == forward[0])
            assert back.after is not None


def test_labels_and_codes_are_those_of_the_job(
    database: Database, rows: list[dict[str, Any]]
) -> None:
    job = rows[0]["job_id"]
    assert database.read(browse.labels, job, 100) == sorted({r["label"] for r in rows} - {None})
    assert database.read(browse.labels, job, 3) == ["a", "b", "c"]
    assert database.read(browse.codes, job, 9) == ["empty", "truncated"]
    assert database.read(browse.labels, job + 2, 9) == []


def test_a_picture_is_one_that_the_job_named(
    database: Database, rows: list[dict[str, Any]]
) -> None:
    job = rows[0]["job_id"]
    assert database.read(browse.picture, job, 5) == (
        "file:///somewhere/5.png",
        None,
        ["/somewhere"],
    )
    with pytest.raises(NoSuchJobError):
        database.read(browse.picture, job, COUNT)
    with pytest.raises(NoSuchJobError):
        database.read(browse.picture, job + 2, 0)


def plans(database: Database, work: Callable[..., Any], *args: Any, **marks: Any) -> list[str]:
    """Return SQLite's plans of what a read asks."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _u: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    database.read(work, *args, **marks)
    event.remove(database.engine, "before_cursor_execute", note)
    with database.engine.connect() as connection:
        return [
            row[3]
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def test_no_leaf_reads_all_rows(database: Database, rows: list[dict[str, Any]]) -> None:
    """Whatever is asked for is found along an index: no table is scanned, no job is sorted."""
    if database.dialect != "sqlite":
        pytest.skip("SQLite says its plan in words that can be tested")
    for choice in CHOICES:
        key = {Order.POSITION: None, Order.FAILED: "empty"}.get(choice.order, 0.5)
        said = plans(database, browse.leaf, rows[0]["job_id"], choice, SIZE, after=Mark(key, 40))
        read = [step for step in said if "results" in step]
        assert read
        assert [step for step in read if "job_id=?" not in step] == [], choice
        if choice.label or choice.order in {Order.POSITION, Order.FAILED}:
            assert [step for step in said if "TEMP B-TREE" in step] == [], choice
