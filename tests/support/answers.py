"""Jobs that have ended, with the rows a test asks for: no worker, no waiting."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from core.types import ChunkStatus, JobStatus
from db.models import Chunk, Job, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from db.session import Database

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Image:
    """One row: labels with scores, best first, or an error code."""

    uri: str
    scores: dict[str, float] = field(default_factory=dict)
    code: str | None = None
    extra: dict[str, Any] | None = None


def add_job(
    database: Database, images: Sequence[Image], *, labels: Sequence[str] = "0123456789",
    model: str = "digits", **columns: Any,
) -> int:  # fmt: skip
    """Insert an ended job with one chunk and a row for each image."""
    return database.write(_insert, images, labels, model, columns)


def _insert(
    connection: Connection, images: Sequence[Image], labels: Sequence[str], model: str,
    columns: dict[str, Any],
) -> int:  # fmt: skip
    ok = sum(image.code is None for image in images)
    given = {
        "name": "a job", "model": model, "model_fingerprint": "f" * 32, "queue": "classyard",
        "priority": 5, "top_k": 3, "options": {}, "status": JobStatus.COMPLETED, "chunks": 1,
        "total": len(images), "created_at": AT, "touched_at": AT, "started_at": AT,
        "finished_at": AT, **columns,
    }  # fmt: skip
    job = connection.execute(insert(Job).values(given).returning(Job.id)).scalar_one()
    chunk = connection.execute(
        insert(Chunk)
        .values(
            job_id=job, seq=0, size=len(images), first_position=0, digest="d" * 32, ok=ok,
            status=ChunkStatus.DONE, attempts=1, failed=len(images) - ok, finished_at=AT,
        )
        .returning(Chunk.id)
    ).scalar_one()  # fmt: skip
    rows = [_row(image, position, list(labels)) for position, image in enumerate(images)]
    shared = {"job_id": job, "chunk_id": chunk, "model": model, "worker": "w", "classified_at": AT}
    if rows:
        connection.execute(insert(Result), [{**shared, **row} for row in rows])
    return int(job)


def _row(image: Image, position: int, labels: list[str]) -> dict[str, Any]:
    ranked = [[labels.index(label), label, score] for label, score in image.scores.items()]
    best: list[Any] = ranked[0] if ranked else [None, None, None]
    return {
        "position": position,
        "uri": image.uri,
        "status": "failed" if image.code else "ok",
        "class_index": best[0],
        "label": best[1],
        "score": best[2],
        "predictions": ranked or None,
        "error_code": image.code,
        "error": "so it is" if image.code else None,
        "width": 4,
        "height": 3,
        "extra": image.extra,
    }
