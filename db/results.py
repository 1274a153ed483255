"""Reads of results: filtered and streamed a page at a time, the least certain, the counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from operator import eq, ge, le
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Select, func, select

from core.types import ResultStatus
from db import queries
from db.models import Result
from db.unpack import extra_text, margin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Row

    from db.session import Database

#: Rows of a page at most, and predictions of a page at most: a job may keep 1,000 labels per image.
PAGE: Final = 2000
PAGE_PREDICTIONS: Final = 40_000
#: Most rows that are ordered by how uncertain they are.
UNCERTAIN_LIMIT: Final = 10_000
#: Rows read to learn which further columns a job has.
EXTRA_SAMPLE: Final = 1000


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results to read; None means all. `where` compares further columns, as text."""

    label: str | None = None
    class_index: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    min_margin: float | None = None
    max_margin: float | None = None
    status: ResultStatus | None = None
    code: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    limit: int | None = None

    @property
    def chooses(self) -> bool:
        """Whether anything but the number of rows is asked for."""
        return self != ResultFilter(limit=self.limit)

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield what the rows must fulfil, in SQL."""
        gap = margin(Result.predictions)
        for column, compare, value in (
            (Result.label, eq, self.label),
            (Result.class_index, eq, self.class_index),
            (Result.score, ge, self.min_score),
            (Result.score, le, self.max_score),
            (gap, ge, self.min_margin),
            (gap, le, self.max_margin),
            (Result.status, eq, self.status),
            (Result.error_code, eq, self.code),
        ):
            if value is not None:
                yield compare(column, value)
        for name, text in self.where:
            yield extra_text(Result.extra, name) == text


def stream_results(
    database: Database, job_id: int, chosen: ResultFilter | None = None
) -> Iterator[Row[Any]]:
    """Yield a job's result rows in order of position, a page in memory at a time."""
    chosen = chosen or ResultFilter()
    query = select(*Result.__table__.columns).where(Result.job_id == job_id, *chosen.conditions())
    return _paged(database, query, database.read(page_size, job_id), chosen.limit)


def stream_truths(database: Database, job_id: int, column: str) -> Iterator[Row[Any]]:
    """Yield what to compare with the truth in a further column, in order of position."""
    query = select(
        Result.position, Result.status, Result.class_index, Result.label, Result.score,
        Result.predictions, extra_text(Result.extra, column).label("truth"),
    ).where(Result.job_id == job_id)  # fmt: skip
    return _paged(database, query, database.read(page_size, job_id), None)


def uncertain_results(
    connection: Connection, job_id: int, chosen: ResultFilter, limit: int
) -> Sequence[Row[Any]]:
    """Return the results with the lowest margin; where margins are equal, the lowest score first."""
    gap = margin(Result.predictions)
    chosen = dataclasses.replace(chosen, status=ResultStatus.OK)
    return connection.execute(
        select(*Result.__table__.columns)
        .where(Result.job_id == job_id, gap.is_not(None), *chosen.conditions())
        .order_by(gap, Result.score, Result.position)
        .limit(min(limit, UNCERTAIN_LIMIT))
    ).all()


def page_size(connection: Connection, job_id: int) -> int:
    """Return how many of a job's rows are read at a time, so that memory stays small."""
    return max(20, min(PAGE, PAGE_PREDICTIONS // queries.top_k(connection, job_id)))


def extra_names(connection: Connection, job_id: int) -> list[str]:
    """Return the names of the further columns of a job's first rows, in order of appearance."""
    rows = connection.execute(
        select(Result.extra)
        .where(Result.job_id == job_id)
        .order_by(Result.position)
        .limit(EXTRA_SAMPLE)
    ).scalars()
    return list(dict.fromkeys(name for extra in rows for name in extra or ()))


def truth_counts(
    connection: Connection, job_id: int, column: str, limit: int
) -> list[tuple[str, int]]:
    """Return the values of a further column and how often each is there, most first."""
    count = func.count()
    value = extra_text(Result.extra, column).label("truth")
    rows = connection.execute(
        select(value, count)
        .where(Result.job_id == job_id)
        .group_by(value)
        .order_by(count.desc(), value)
        .limit(limit)
    )
    return [(text, number) for text, number in rows if text is not None and text.strip()]


def failures_by_code(connection: Connection, job_id: int) -> list[tuple[str, int]]:
    """Return how many images failed with each code, most first."""
    count = func.count()
    rows = connection.execute(
        select(Result.error_code, count)
        .where(Result.job_id == job_id, Result.status == ResultStatus.FAILED)
        .group_by(Result.error_code)
        .order_by(count.desc(), Result.error_code)
    )
    return [(str(code), number) for code, number in rows]


def _paged(
    database: Database, query: Select[Any], page: int, limit: int | None
) -> Iterator[Row[Any]]:
    after = -1
    left = limit
    while left is None or left > 0:
        size = page if left is None else min(page, left)
        # A page per transaction: a slow reader must not hold a snapshot open for hours.
        rows = database.read(_fetch, query.where(Result.position > after), size)
        yield from rows
        if len(rows) < size:
            return
        after = rows[-1].position
        left = None if left is None else left - len(rows)


def _fetch(connection: Connection, query: Select[Any], size: int) -> Sequence[Row[Any]]:
    return connection.execute(query.order_by(Result.position).limit(size)).all()
