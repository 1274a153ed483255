"""docs/querying.md names every table and column, and its queries give the same on both databases."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import inspect

from db import queries
from db.migrate import migrate
from db.models import Base
from db.session import open_database
from producer.cli.show import as_dict
from tests.support.answers import Image, add_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.session import Database

PAGE = (Path(__file__).parents[2] / "docs" / "querying.md").read_text("utf-8")
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
MARKS = {"-- SQLite\n": "sqlite", "-- PostgreSQL\n": "postgresql"}
LABELS = ["tench", "goldfish", "cat"]


@pytest.fixture
def both(tmp_path: Path, postgres_url: str) -> Iterator[dict[str, Database]]:
    """The same two jobs in both kinds of database."""
    opened = {
        "sqlite": open_database(f"sqlite:///{tmp_path}/x.db"),
        "postgresql": open_database(postgres_url),
    }
    for database in opened.values():
        migrate(database)
        for surest in ("tench", "cat"):
            add_job(database, list(photos(surest)), labels=LABELS)
    yield opened
    for database in opened.values():
        database.close()


def photos(surest: str) -> Iterator[Image]:
    other = "goldfish"
    for number in range(8):
        host = "ab"[number % 2]
        uri = f"https://{host}.example.org/fish/{number}.jpg"
        extra = {"camera": "north" if number < 3 else "südlich"}
        if number == 5:
            yield Image(uri, code="http_4xx", extra=extra)
        elif number == 6:
            yield Image(uri, {other: 0.9, surest: 0.05}, extra=extra)
        else:
            yield Image(uri, {surest: 0.5 + number / 100, other: 0.25}, extra=extra)


def test_every_query_gives_the_same_on_both_databases(both: dict[str, Database]) -> None:
    answers: dict[str, list[Any]] = {"sqlite": [], "postgresql": []}
    for block in SQL:
        only = next((dialect for mark, dialect in MARKS.items() if block.startswith(mark)), None)
        for dialect, database in both.items():
            if only in {None, dialect}:
                answers[dialect].append(answer(database, block))
    assert len(answers["sqlite"]) >= 12
    assert all(answers["sqlite"]), "a query without an answer shows nothing"
    assert answers["sqlite"] == answers["postgresql"]


def answer(database: Database, block: str) -> list[list[Any]]:
    """Run the statements of one block; return the rows of the last."""
    with database.engine.begin() as connection:
        for statement in filter(str.strip, block.split(";")):
            done = connection.exec_driver_sql(statement)
        return [[plain(value) for value in row] for row in done]


def plain(value: Any) -> Any:
    return round(float(value), 9) if isinstance(value, float | Decimal) else value


def test_every_table_and_column_is_documented(database: Database) -> None:
    documented = {}
    for section in re.split(r"^### ", PAGE.split("## Ready queries")[0], flags=re.MULTILINE)[1:]:
        name = re.match(r"`(\w+)`", section)
        assert name
        documented[name[1]] = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    there = {name: list(table.columns.keys()) for name, table in Base.metadata.tables.items()}
    view = inspect(database.engine).get_columns("predictions")
    there["predictions"] = [column["name"] for column in view]
    assert documented == there


def test_the_json_of_a_job_is_documented(database: Database) -> None:
    job = add_job(database, [Image("file:///a.jpg", {"1": 0.5})])
    section = PAGE.split("## JSON for programs")[1]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert keys == set(as_dict(database.read(queries.progress, job)))
