"""Two jobs side by side: one sorted stream of both, so that pairs are neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text

from db.models import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from db.session import Database

#: Rows fetched at a time.
FETCH = 5000


@dataclass(frozen=True, slots=True)
class Pair:
    """What two jobs say of one image; None for the job that has no row of it."""

    uri: str
    a: Row[Any] | None
    b: Row[Any] | None


def stream_pairs(database: Database, job_a: int, job_b: int) -> Iterator[Pair]:
    """Yield every image of two jobs once, by URI.

    A URI that a job has several times is paired in order of position: first with first.
    """
    occurrence = (
        func.row_number()
        .over(partition_by=(Result.uri, Result.job_id), order_by=Result.position)
        .label("occurrence")
    )
    both = (
        select(
            Result.uri, Result.job_id, Result.position, Result.status, Result.label,
            Result.class_index, Result.score, Result.error_code, occurrence,
        )
        .where(Result.job_id.in_((job_a, job_b)))
        .subquery()
    )  # fmt: skip
    query = select(both).order_by(both.c.uri, both.c.occurrence, both.c.job_id)
    with database.reading() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = '15min'"))
        rows = connection.execute(
            query, execution_options={"stream_results": True, "yield_per": FETCH}
        )
        for (uri, _), same in groupby(rows, key=lambda row: (row.uri, row.occurrence)):
            found = {row.job_id: row for row in same}
            yield Pair(uri, found.get(job_a), found.get(job_b))
