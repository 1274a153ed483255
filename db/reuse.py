"""Answers that are there already: for a URI given twice, for content seen before, for URIs to skip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, literal_column, select, text

from core.types import Classified, Prediction, ResultStatus
from db.models import Embedding, Job, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from db.chunks import Terms

#: Written out, not bound: a partial index serves only what is known to be in it.
_IS_OK = Result.status == literal_column(f"'{ResultStatus.OK}'")
_SAME_HASH = (
    "hashtextextended(results.uri, 0) = ANY (ARRAY("
    "SELECT hashtextextended(given, 0) FROM unnest(CAST(:uris AS text[])) AS given))"
)
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
    rows = connection.execute(
        # Plus 0: a planner without statistics would rather walk through all rows of the job.
        _answers(terms).where(_given(connection, uris), Result.job_id + 0 == terms.job_id)
    )
    return {row.uri: _classified(row, terms.top_k) for row in rows}


def by_content(connection: Connection, terms: Terms, content_hash: str) -> Classified | None:
    """Return what the job's model, the same to the last weight, said of this content in any job."""
    row = connection.execute(
        _answers(terms)
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


def _answers(terms: Terms) -> Select[Any]:
    """Select answers: those that have an embedding, if the job wants one."""
    if not terms.embeddings:
        return select(*_ANSWER)
    return select(*_ANSWER, Embedding.vector).join(
        Embedding,
        and_(Embedding.job_id == Result.job_id, Embedding.position == Result.position),
    )


def done_uris(
    connection: Connection, model: str, fingerprint: str, uris: Sequence[str]
) -> set[str]:
    """Return those of `uris` that have labels by this very model, in whichever job."""
    found = connection.execute(
        select(Result.uri)
        .join(Job, Job.id == Result.job_id)
        .where(
            _given(connection, uris),
            Job.model_fingerprint == fingerprint,
            Job.model == model,
        )
    )
    return set(found.scalars()).intersection(uris)


def _given(connection: Connection, uris: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a row is ok and its URI one of `uris`, as the index wants it.

    On PostgreSQL a row whose URI only has the same hash as one of them may be found as well.
    """
    if connection.dialect.name == "postgresql":
        return and_(_IS_OK, text(_SAME_HASH).bindparams(uris=list(uris)))
    return and_(_IS_OK, Result.uri.in_(uris))


def _classified(row: Row[Any], top_k: int) -> Classified:
    predictions = tuple(Prediction(*one) for one in row.predictions[:top_k])
    vector = getattr(row, "vector", None)
    return Classified(predictions, row.width, row.height, row.content_hash, vector)
