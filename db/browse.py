"""Leafing through a job's results: a page at a time, by key, along an index, never by counting."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from operator import eq, ge, le
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, text, tuple_, union_all
from sqlalchemy.sql import operators

from core.errors import NoSuchJobError
from db.models import Chunk, Job, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, Connection, Row, Select

#: Literals: a partial index is used only if the statement says what the index says.
_FAILED: Final = text("results.status = 'failed'")


class Order(StrEnum):
    """Which results, and in which order."""

    POSITION = "position"
    SURE = "sure"
    UNSURE = "unsure"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Choice:
    """What to leaf through. Label and scores choose labelled images, a code failed ones."""

    order: Order = Order.POSITION
    label: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A row's place in an order: its score or error code, None by position; and its position."""

    key: float | str | None
    position: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A page of rows, and the marks from which the pages before and after it are read, if any."""

    rows: Sequence[Row[Any]]
    before: Mark | None
    after: Mark | None


def leaf(
    connection: Connection,
    job_id: int,
    choice: Choice,
    size: int,
    *,
    after: Mark | None = None,
    before: Mark | None = None,
) -> Leaf:
    """Return the page of `size` rows after a mark, or the one before a mark, or the first."""
    backward = before is not None
    way = _way(choice, before or after, turned=backward)
    if choice.order in {Order.SURE, Order.UNSURE} and choice.label is None:
        query = _across_labels(connection, job_id, way, size + 1)
    else:
        query = select(*Result.__table__.columns).where(Result.job_id == job_id, *way.conditions)
    if query is None:
        return Leaf((), None, None)
    rows = list(connection.execute(query.order_by(*way.order).limit(size + 1)))
    more, rows = len(rows) > size, rows[:size]
    if backward:
        rows.reverse()
    if not rows:
        return Leaf((), None, None)
    first, last = (_mark(choice, row) for row in (rows[0], rows[-1]))
    earlier, later = (more, True) if backward else (after is not None, more)
    return Leaf(rows, first if earlier else None, last if later else None)


@dataclass(frozen=True, slots=True)
class _Way:
    """How rows are read: which, and in which order; all of it along one index."""

    conditions: list[Any]
    order: list[Any]


def _way(choice: Choice, mark: Mark | None, *, turned: bool) -> _Way:
    columns, conditions = _chosen(choice)
    down = (choice.order == Order.SURE) != turned
    if mark is not None:
        values = [mark.position] if len(columns) == 1 else [mark.key, mark.position]
        place, bound = tuple_(*columns), tuple_(*values)
        conditions.append(place < bound if down else place > bound)
    return _Way(conditions, [column.desc() if down else column.asc() for column in columns])


def _chosen(choice: Choice) -> tuple[list[Any], list[Any]]:
    """Return the columns that order the rows, and the conditions that choose them."""
    if choice.order == Order.FAILED:
        if choice.code is not None:
            return [Result.position], [_FAILED, Result.error_code == choice.code]
        return [Result.error_code, Result.position], [_FAILED]
    if choice.order == Order.POSITION:
        return [Result.position], []
    # A label or a score says already that the image is ok; asking for the status, which no index
    # holds, would read every row.
    conditions: list[Any] = []
    for column, compare, value in (
        (Result.label, eq, choice.label),
        (Result.score, ge, choice.min_score),
        (Result.score, le, choice.max_score),
    ):
        if value is not None:
            conditions.append(compare(column, value))
    return [Result.score, Result.position], conditions


def _across_labels(connection: Connection, job_id: int, way: _Way, size: int) -> Select[Any] | None:
    """Return the query of a page's rows by score over all labels; None if there are none.

    There is no index for it: one more would cost every row that is written.
    The one there is begins with the label, so each label is a sorted list of its own, and the page is
    merged from them: only the labels whose first rows are the first of all can be on it.
    """
    of_job = Result.job_id == job_id
    label = _distinct(job_id, Result.label)

    def first(column: Any) -> Any:
        rows = select(column).where(of_job, Result.label == label.c.value, *way.conditions)
        return rows.order_by(*way.order).limit(1).scalar_subquery()

    firsts = select(
        label.c.value, first(Result.score).label("score"), first(Result.position).label("position")
    ).subquery()
    down = way.order[0].modifier is operators.desc_op
    order = [c.desc() if down else c.asc() for c in (firsts.c.score, firsts.c.position)]
    near = select(firsts.c.value).where(firsts.c.score.is_not(None)).order_by(*order).limit(size)
    lists = [
        select(
            select(Result.score, Result.position)
            .where(of_job, Result.label == name, *way.conditions)
            .order_by(*way.order)
            .limit(size)
            .subquery()
        )
        for name in connection.execute(near).scalars()
    ]
    if not lists:
        return None
    merged = union_all(*lists).subquery()
    order = [c.desc() if down else c.asc() for c in (merged.c.score, merged.c.position)]
    found = connection.execute(select(merged.c.position).order_by(*order).limit(size)).scalars()
    return select(*Result.__table__.columns).where(of_job, Result.position.in_(list(found)))


def _mark(choice: Choice, row: Row[Any]) -> Mark:
    if choice.order == Order.POSITION:
        return Mark(None, row.position)
    return Mark(row.error_code if choice.order == Order.FAILED else row.score, row.position)


def labels(connection: Connection, job_id: int, most: int) -> list[str]:
    """Return a job's top-1 labels in alphabetical order: one look into the index for each."""
    return _values(connection, _distinct(job_id, Result.label), most)


def codes(connection: Connection, job_id: int, most: int) -> list[str]:
    """Return the error codes of a job in alphabetical order."""
    return _values(connection, _distinct(job_id, Result.error_code, _FAILED), most)


def _values(connection: Connection, found: CTE, most: int) -> list[str]:
    query = select(found.c.value).where(found.c.value.is_not(None)).limit(most)
    return list(connection.execute(query).scalars())


def _distinct(job_id: int, column: Any, *conditions: Any) -> CTE:
    """Return the values of an indexed column, each found by one look for the next larger one.

    The last value is NULL.
    """

    def least(*beyond: Any) -> Any:
        found = select(func.min(column)).where(Result.job_id == job_id, *conditions, *beyond)
        return found.scalar_subquery().label("value")

    found = select(least()).cte("found", recursive=True)
    return found.union_all(select(least(column > found.c.value)).where(found.c.value.is_not(None)))


def job_ids(connection: Connection, most: int, before: int | None = None) -> list[int]:
    """Return the newest jobs, or those older than one, newest first."""
    query = select(Job.id).order_by(Job.id.desc()).limit(most)
    if before is not None:
        query = query.where(Job.id < before)
    return list(connection.execute(query).scalars())


def drop_jobs(connection: Connection, among: int) -> list[int]:
    """Return which of the newest jobs were dropped on the web page, newest first."""
    rows = connection.execute(select(Job.id, Job.options).order_by(Job.id.desc()).limit(among))
    return [job_id for job_id, options in rows if "drop" in options]


def waiting_uris(connection: Connection, job_id: int) -> dict[int, str]:
    """Return the URIs of a small job's images without a row, by position."""
    rows = connection.execute(
        select(Chunk.first_position, Chunk.positions, Chunk.uris).where(
            Chunk.job_id == job_id, Chunk.uris.is_not(None)
        )
    )
    return {
        place: uri
        for first, positions, uris in rows
        for place, uri in zip(positions or range(first, first + len(uris)), uris, strict=True)
    }


def picture(
    connection: Connection, job_id: int, position: int
) -> tuple[str, str | None, list[str]]:
    """Return an image's URI, the hash of its bytes, and the folders its job may read.

    Raises:
        NoSuchJobError: if no row of this job has this position.
    """
    row = connection.execute(
        select(Result.uri, Result.content_hash, Job.options)
        .join(Job, Job.id == Result.job_id)
        .where(Result.job_id == job_id, Result.position == position)
    ).one_or_none()
    if row is None:
        raise NoSuchJobError(f"job {job_id} has no result at position {position}")
    return row.uri, row.content_hash, list(row.options.get("roots", ()))
