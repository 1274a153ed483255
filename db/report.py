"""Reads for reports: what each finished chunk took, and single rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.types import ChunkStatus
from db.models import Chunk, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

#: Rows asked for in one statement: databases bound the number of parameters.
AT_ONCE = 500


def finished_chunks(connection: Connection, job_id: int) -> Sequence[Row[Any]]:
    """Return every finished chunk of a job: when, by whom, how many images, the stages' seconds."""
    columns: list[Any] = [
        Chunk.id, Chunk.worker, Chunk.started_at, Chunk.finished_at, Chunk.retry,
        (Chunk.ok + Chunk.failed).label("images"), Chunk.fetch_seconds, Chunk.decode_seconds,
        Chunk.predict_seconds, Chunk.record_seconds,
    ]  # fmt: skip
    return connection.execute(
        select(*columns)
        .where(
            Chunk.job_id == job_id,
            Chunk.status == ChunkStatus.DONE,
            Chunk.started_at.is_not(None),
            Chunk.finished_at.is_not(None),
        )
        .order_by(Chunk.finished_at, Chunk.id)
    ).all()


def rows_at(connection: Connection, job_id: int, positions: Sequence[int]) -> dict[int, Row[Any]]:
    """Return a job's results at the given positions, by position."""
    found: dict[int, Row[Any]] = {}
    for start in range(0, len(positions), AT_ONCE):
        wanted = positions[start : start + AT_ONCE]
        for row in connection.execute(
            select(*Result.__table__.columns).where(
                Result.job_id == job_id, Result.position.in_(wanted)
            )
        ):
            found[row.position] = row
    return found
