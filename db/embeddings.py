"""Embeddings: a table of their own beside the results, so that those stay slim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from core.types import Classified
from db.bulk import insert_rows
from db.models import Embedding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

    from core.types import Outcome

EMBEDDINGS: Table = Embedding.__table__  # type: ignore[assignment]


def add(
    connection: Connection, job_id: int, positions: Sequence[int], outcomes: Sequence[Outcome]
) -> None:
    """Insert the embeddings of those outcomes that have one."""
    rows = [
        (job_id, position, outcome.embedding)
        for position, outcome in zip(positions, outcomes, strict=True)
        if isinstance(outcome, Classified) and outcome.embedding is not None
    ]
    insert_rows(connection, EMBEDDINGS, rows)


def vectors(connection: Connection, job_id: int, positions: Sequence[int]) -> dict[int, bytes]:
    """Return the embeddings of some positions of a job, as far as they have one."""
    rows = connection.execute(
        select(Embedding.position, Embedding.vector).where(
            Embedding.job_id == job_id, Embedding.position.in_(positions)
        )
    )
    return {row.position: row.vector for row in rows}
