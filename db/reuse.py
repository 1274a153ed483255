"""Answers that are there already: for a URI given twice, for content seen before, for URIs to skip."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Text, and_, bindparam, cast, func, literal_column, select, true

from core.types import Classified, Prediction, ResultStatus
from db.models import Embedding, Job, Result, unindexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from db.chunks import Terms

#: Written out, not bound: a partial index serves only what is known to be in it.
_IS_OK = Result.status == literal_column(f"'{ResultStatus.OK}'")
_SEED: ColumnElement[int] = literal_column("0")
_ANSWER = (Result.uri, Result.predictions, Result.width, Result.height, Result.content_hash)


def index_contents(connection: Connection) -> None:
    """Have what `by_content` looks up: before the first job that reuses, on SQLite.

    Hashes come in no order, so each goes to a page of its own: kept up for everybody, the index
    would take more time than the rows (figures in docs/benchmarks.md). PostgreSQL always has it.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "CREATE INDEX IF NOT EXISTS ix_results_content_hash ON results (content_hash)"
            " WHERE status = 'ok'"
        )


def by_uri(connection: Connection, terms: Terms, uris: Sequence[str]) -> dict[str, Classified]:
    """Return what the job's own rows answer to any of `uris`."""
    query = _uri_query(connection.dialect.name, terms.embeddings)
    rows = connection.execute(query, {**_of(connection, uris), "the_job": terms.job_id})
    return {row.uri: _classified(row, terms.top_k) for row in rows}


@cache
def _uri_query(dialect: str, embeddings: bool) -> Select[Any]:
    """Return what is executed for every chunk."""
    of_job = unindexed(Result.job_id) == bindparam("the_job")
    return _given(_answers(embeddings=embeddings).where(of_job), dialect)


def by_content(connection: Connection, terms: Terms, content_hash: str) -> Classified | None:
    """Return what the job's model, the same to the last weight, said of this content in any job."""
    row = connection.execute(
        _answers(embeddings=terms.embeddings)
        .join(Job, Job.id == Result.job_id)
        .where(
            _IS_OK,
            Result.content_hash == content_hash,
            Job.model_fingerprint == terms.fingerprint,
            Job.model == terms.model,
            Job.top_k >= terms.top_k,
        )
        .limit(1)
    ).one_or_none()
    return None if row is None else _classified(row, terms.top_k)


def _answers(*, embeddings: bool) -> Select[Any]:
    """Select answers: those that have an embedding, if the job wants one."""
    if not embeddings:
        return select(*_ANSWER)
    return select(*_ANSWER, Embedding.vector).join(
        Embedding,
        and_(Embedding.job_id == Result.job_id, Embedding.position == Result.position),
    )


def done_uris(
    connection: Connection, model: str, fingerprint: str, uris: Sequence[str]
) -> set[str]:
    """Return those of `uris` that have labels by this very model, in whichever job."""
    query = (
        select(Result.uri)
        .join(Job, Job.id == Result.job_id)
        .where(Job.model_fingerprint == fingerprint, Job.model == model)
    )
    found = connection.execute(_given(query, connection.dialect.name), _of(connection, uris))
    return set(found.scalars()).intersection(uris)


def _given(query: Select[Any], dialect: str) -> Select[Any]:
    """Return a query of results for those that are ok and whose URI is one of `uris`.

    On PostgreSQL a row whose URI only has the same hash as one of them may be found as well.
    """
    if dialect == "sqlite":
        return query.where(_IS_OK, Result.uri.in_(bindparam("uris", expanding=True)))
    uris = func.json_array_elements_text(cast(bindparam("uris"), Text).cast(JSON))
    given = uris.table_valued("uri", name="given").render_derived()
    same = func.hashtextextended(Result.uri, _SEED) == func.hashtextextended(given.c.uri, _SEED)
    # One lookup after the other: OFFSET keeps PostgreSQL from rearranging them. As long as a table has
    # no statistics, it would rather read the whole of another index than look up several at once.
    found = query.where(_IS_OK, same).offset(literal_column("0")).lateral("found")
    return select(found).select_from(given.join(found, true()))


def _of(connection: Connection, uris: Sequence[str]) -> dict[str, Any]:
    """Return the values of `_given`."""
    if connection.dialect.name == "sqlite":
        return {"uris": list(uris)}
    # As JSON: psycopg writes a list of texts in Python, which takes ten times as long.
    return {"uris": json.dumps(list(uris), ensure_ascii=False)}


def _classified(row: Row[Any], top_k: int) -> Classified:
    predictions = tuple(Prediction(*one) for one in row.predictions[:top_k])
    vector = getattr(row, "vector", None)
    return Classified(predictions, row.width, row.height, row.content_hash, vector)
