"""Failed images run again within their job: each position keeps its one row throughout.

The failed rows stay until the new chunk's completion replaces them. Which chunk is to replace a row
is written on it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, case, delete, func, insert, select, update

from core.errors import JobStatusError
from core.types import ChunkStatus, JobStatus, ResultStatus, digest, encode_uris
from db.clock import now
from db.models import ACTIVE, Chunk, Job, Result
from db.prune import PARTLY
from db.steering import move, under_way

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

#: Jobs whose failed images can run again.
RETRYABLE = (*ACTIVE, JobStatus.COMPLETED_WITH_ERRORS, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Retried:
    """One slice of a retry: how many images, and the last position; 0 images: there are no more."""

    images: int
    last: int


def retry_slice(
    connection: Connection, job_id: int, codes: Sequence[str] | None, after: int, size: int
) -> Retried:
    """Put up to `size` failed images behind position `after` into one new chunk.

    Their failed rows stay until the chunk's completion replaces them. The chunks that counted them
    as failed count them no more, so the job's sums hold throughout.

    Raises:
        NoSuchJobError, JobStatusError: if the job is paused or still being submitted.
    """
    move(connection, job_id, RETRYABLE, touched_at=now())  # takes the lock; changes nothing yet
    if connection.execute(select(Job.error).where(Job.id == job_id)).scalar_one() == PARTLY:
        # It would close as completed, without the rows that are gone.
        raise JobStatusError(f"job {job_id} is {PARTLY}")
    rows = _failed_rows(connection, job_id, codes, after, size)
    if not rows:
        return Retried(0, after)
    chunk_id = _insert_retry(connection, job_id, rows)
    positions = [row.position for row in rows]
    adopt(connection, job_id, positions, chunk_id)
    counts = Counter(row.chunk_id for row in rows)
    chunks = Chunk.__table__
    connection.execute(
        update(chunks)  # type: ignore[arg-type]
        .where(chunks.c.id == bindparam("old"))
        .values(size=chunks.c.size - bindparam("n"), failed=chunks.c.failed - bindparam("n")),
        [{"old": old, "n": n} for old, n in counts.items()],
    )
    move(
        connection, job_id, RETRYABLE,
        status=case((Job.status.in_(ACTIVE), Job.status), else_=under_way()),
        finished_at=None, error=None,
    )  # fmt: skip
    return Retried(len(rows), positions[-1])


def largest_chunk(connection: Connection, job_id: int) -> int:
    """Return the size of a job's largest chunk: what its submitter found right."""
    largest = select(func.max(Chunk.size)).where(Chunk.job_id == job_id)
    return max(1, connection.execute(largest).scalar_one() or 1)


def adopt(connection: Connection, job_id: int, positions: Sequence[int], chunk_id: int) -> None:
    """Say on the failed rows at `positions` which chunk is to replace them."""
    connection.execute(
        update(Result)
        .where(
            Result.job_id == job_id,
            Result.position.in_(positions),
            Result.status == ResultStatus.FAILED,
        )
        .values(chunk_id=chunk_id)
    )


def take_back(connection: Connection, job_id: int, positions: Sequence[int]) -> dict[int, int]:
    """Delete the failed rows that a retry is about to replace; return their attempts."""
    gone = connection.execute(
        delete(Result)
        .where(
            Result.job_id == job_id,
            Result.position.in_(positions),
            Result.status == ResultStatus.FAILED,
        )
        .returning(Result.position, Result.attempts)
    )
    return {row.position: row.attempts for row in gone}


def _failed_rows(
    connection: Connection, job_id: int, codes: Sequence[str] | None, after: int, size: int
) -> Sequence[Row[Any]]:
    query = (
        select(Result.position, Result.uri, Result.extra, Result.chunk_id)
        # A row whose chunk is not done is being retried already.
        .join(Chunk, Chunk.id == Result.chunk_id)
        .where(
            Result.job_id == job_id,
            Result.status == ResultStatus.FAILED,
            Result.position > after,
            Chunk.status == ChunkStatus.DONE,
        )
        .order_by(Result.position)
        .limit(size)
    )
    if codes is not None:
        query = query.where(Result.error_code.in_(codes))
    return connection.execute(query).all()


def _insert_retry(connection: Connection, job_id: int, rows: Sequence[Row[Any]]) -> int:
    uris = [row.uri for row in rows]
    extra = [row.extra for row in rows]
    last = select(func.max(Chunk.seq) + 1).where(Chunk.job_id == job_id).scalar_subquery()
    return connection.execute(
        insert(Chunk)
        .values(
            job_id=job_id,
            seq=last,
            size=len(rows),
            first_position=rows[0].position,
            positions=[row.position for row in rows],
            uris=uris,
            extra=extra if any(extra) else None,
            digest=digest(encode_uris(uris)),
            status=ChunkStatus.PENDING,
            retry=True,
        )
        .returning(Chunk.id)
    ).scalar_one()
