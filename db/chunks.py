"""The worker's verbs on a chunk: claim it, complete it, hand it back. Each is one transaction.

Every change is one conditional UPDATE; zero rows changed means that somebody else was first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, exists, or_, select, update

from core.types import ChunkStatus, Classified, JobStatus
from db import embeddings
from db.bulk import insert_rows
from db.clock import now, seconds_from_now
from db.models import ACTIVE, Chunk, Job, Result, unindexed
from db.retry import take_back
from db.rows import Rows, moment, result_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Connection, Table

    from core.types import Classification, Failure

RESULTS: Table = Result.__table__  # type: ignore[assignment]
#: Counter of the messages whose chunk is done, or held by somebody else.
DUPLICATE: Final = "duplicates_dropped"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a chunk: a worker and one of its child processes."""

    worker: str
    child: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that is ours to classify."""

    job_id: int
    chunk_id: int
    attempts: int
    positions: Sequence[int]
    extra: Sequence[Any] | None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job asks for; never changes once the job is submitted."""

    job_id: int
    model: str
    fingerprint: str
    top_k: int
    queue: str
    priority: int
    chunks: int
    roots: tuple[str, ...]
    reuse: bool = False
    error_limit: str | None = None
    #: The trace that the submission belongs to (W3C), if it was traced.
    traceparent: str | None = None
    embeddings: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A chunk that was marked queued and must now be sent."""

    terms: Terms
    chunk_id: int
    seq: int
    digest: str
    uris: Sequence[str]
    queued_at: datetime


def job_is_active(job_id: int | BindParameter[int]) -> ColumnElement[bool]:
    """Return the condition that a job's chunks may be sent and claimed."""
    return exists().where(Job.id == job_id, Job.status.in_(ACTIVE))


def read_terms(connection: Connection, job_id: int) -> Terms | None:
    """Return what job `job_id` asks for, or None if there is no such job."""
    job = connection.execute(
        select(
            Job.model, Job.model_fingerprint, Job.top_k, Job.queue, Job.priority, Job.chunks,
            Job.options,
        ).where(Job.id == job_id)
    ).one_or_none()  # fmt: skip
    if job is None:
        return None
    return Terms(
        job_id=job_id,
        model=job.model,
        fingerprint=job.model_fingerprint,
        top_k=job.top_k,
        queue=job.queue,
        priority=job.priority,
        chunks=job.chunks,
        roots=tuple(job.options.get("roots", ())),
        reuse=bool(job.options.get("reuse")),
        error_limit=job.options.get("max_errors"),
        traceparent=job.options.get("traceparent"),
        embeddings=bool(job.options.get("embeddings")),
    )


# What is executed for every chunk is built once: to build it takes longer than SQLite does.
_ME = (Chunk.worker == bindparam("me"), Chunk.child == bindparam("my_child"))
_OURS = (
    Chunk.id == bindparam("the_chunk"),
    unindexed(Chunk.status) == ChunkStatus.RUNNING,
    *_ME,
    Chunk.attempts == bindparam("the_attempt"),
)
_CLAIM = (
    update(Chunk)
    .where(
        Chunk.id == bindparam("the_chunk"),
        unindexed(Chunk.job_id) == bindparam("the_job"),
        Chunk.digest == bindparam("the_digest"),
        or_(
            Chunk.status.in_((ChunkStatus.PENDING, ChunkStatus.QUEUED)),
            # A second claim by the same child is the retry of one whose COMMIT had an unknown outcome.
            and_(Chunk.status == ChunkStatus.RUNNING, *_ME),
            and_(Chunk.status == ChunkStatus.RUNNING, Chunk.lease_until < now()),
        ),
        job_is_active(bindparam("the_job")),
    )
    .values(
        status=ChunkStatus.RUNNING,
        attempts=Chunk.attempts + 1,
        worker=bindparam("me"),
        child=bindparam("my_child"),
        started_at=now(),
        lease_until=seconds_from_now(bindparam("the_lease")),
    )
    .returning(
        Chunk.attempts, Chunk.size, Chunk.first_position, Chunk.positions, Chunk.extra, Chunk.retry
    )
)  # fmt: skip


def claim(
    connection: Connection, job_id: int, chunk_id: int, digest: str, owner: Owner, lease: float
) -> Claim | None:
    """Make a chunk ours, counting the attempt; None if there is nothing to do for it.

    The digest must be the row's: the message is only a copy, and may be anybody's.
    """
    row = connection.execute(
        _CLAIM,
        {
            "the_chunk": chunk_id,
            "the_job": job_id,
            "the_digest": digest,
            "me": owner.worker,
            "my_child": owner.child,
            "the_lease": lease,
        },
    ).one_or_none()
    if row is None:
        return None
    positions = row.positions or range(row.first_position, row.first_position + row.size)
    return Claim(job_id, chunk_id, row.attempts, positions, row.extra, row.retry)


def mark_running(connection: Connection, job_id: int) -> None:
    """Move a job from queued to running; no change if it is past that."""
    connection.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.QUEUED)
        .values(status=JobStatus.RUNNING, started_at=now())
    )


def refused(connection: Connection, job_id: int, chunk_id: int, digest: str) -> str:
    """Say why a claim found nothing: the name of the counter to raise."""
    row = connection.execute(
        select(Chunk.digest, Job.status)
        .join(Job, Job.id == Chunk.job_id)
        .where(Chunk.id == chunk_id, Chunk.job_id == job_id)
    ).one_or_none()
    if row is None or row.digest != digest:
        return "messages_refused"
    stopped = row.status in {JobStatus.PAUSED, JobStatus.CANCELLED, JobStatus.FAILED}
    return "stopped_dropped" if stopped else DUPLICATE


_FINISH = (
    update(Chunk)
    .where(*_OURS)
    .values(
        status=ChunkStatus.DONE,
        ok=bindparam("now_ok"),
        failed=bindparam("now_failed"),
        reused=bindparam("now_reused"),
        uris=None,
        extra=None,
        positions=None,
        lease_until=None,
        finished_at=now(),
        fetch_seconds=bindparam("in_fetch"),
        decode_seconds=bindparam("in_decode"),
        predict_seconds=bindparam("in_predict"),
    )
    .returning(Chunk.finished_at)
)
_TIME = (
    update(Chunk)
    .where(Chunk.id == bindparam("the_chunk"))
    .values(record_seconds=bindparam("in_record"))
)


def complete(
    connection: Connection,
    claimed: Claim,
    terms: Terms,
    owner: Owner,
    uris: Sequence[str],
    classification: Classification,
) -> list[Outgoing] | None:
    """Record a chunk's outcomes, exactly one row per position, and take the job's next chunk.

    Returns the chunks to send now (none or one), or None if the chunk was no longer ours to
    finish: then nothing was written.

    Raises:
        ValueError: if there is not one outcome per position.
    """
    outcomes = classification.outcomes
    if not len(claimed.positions) == len(uris) == len(outcomes):
        raise ValueError(f"{len(outcomes)} outcomes for {len(claimed.positions)} positions")
    # The guard comes first and takes the row's lock: of two finishers one waits, then finds 0 rows.
    finished_at = _finish(connection, claimed, owner, classification)
    if finished_at is None:
        return None
    started = time.perf_counter()
    shared = Rows(
        claimed.job_id,
        claimed.chunk_id,
        terms.model,
        owner.worker,
        moment(connection, finished_at),
        take_back(connection, claimed.job_id, claimed.positions) if claimed.retry else {},
    )
    rows = result_rows(shared, claimed.positions, uris, claimed.extra, outcomes)
    insert_rows(connection, RESULTS, rows)
    if terms.embeddings:
        embeddings.add(connection, claimed.job_id, claimed.positions, outcomes)
    spent = time.perf_counter() - started
    connection.execute(_TIME, {"the_chunk": claimed.chunk_id, "in_record": spent})
    return take_pending(connection, terms, 1, owner)


def _finish(
    connection: Connection, claimed: Claim, owner: Owner, classification: Classification
) -> datetime | None:
    """Mark our chunk as done; return when that was, or None if it was no longer ours."""
    outcomes, seconds = classification.outcomes, classification.seconds
    ok = sum(isinstance(outcome, Classified) for outcome in outcomes)
    return connection.execute(
        _FINISH,
        {
            **_ours(claimed, owner),
            "now_ok": ok,
            "now_failed": len(outcomes) - ok,
            "now_reused": classification.reused,
            "in_fetch": seconds.fetch,
            "in_decode": seconds.decode,
            "in_predict": seconds.predict,
        },
    ).scalar_one_or_none()


_NEXT = (
    select(Chunk.id)
    .where(Chunk.job_id == bindparam("the_job"), Chunk.status == ChunkStatus.PENDING)
    .order_by(Chunk.seq)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_TAKE = (
    update(Chunk)
    .where(Chunk.id.in_(_NEXT), job_is_active(bindparam("the_job")))
    .values(
        status=ChunkStatus.QUEUED,
        queued_at=now(),
        worker=bindparam("sender"),
        child=bindparam("sending_child"),
    )
    .returning(Chunk.id, Chunk.seq, Chunk.digest, Chunk.uris, Chunk.queued_at)
)


def take_pending(
    connection: Connection, terms: Terms, limit: int, sender: Owner | None = None
) -> list[Outgoing]:
    """Mark up to `limit` pending chunks of an active job as queued; the caller sends them.

    A `sender` is noted: should it die, what it marked may not have been sent.
    """
    rows = connection.execute(
        _TAKE,
        {
            "the_job": terms.job_id,
            "most": limit,
            "sender": sender.worker if sender else None,
            "sending_child": sender.child if sender else None,
        },
    ).all()
    sent = [
        Outgoing(terms, row.id, row.seq, row.digest, row.uris or (), row.queued_at) for row in rows
    ]
    return sorted(sent, key=lambda chunk: chunk.seq)


def hand_back(
    connection: Connection, claimed: Claim, owner: Owner, failure: Failure | None
) -> bool:
    """Give an unfinished chunk back; without a failure the attempt does not count.

    Returns False if it was no longer ours.
    """
    changed = connection.execute(
        update(Chunk)
        .where(*_OURS)
        .values(
            status=ChunkStatus.PENDING,
            attempts=Chunk.attempts if failure else Chunk.attempts - 1,
            error_code=failure.code if failure else None,
            error=failure.detail if failure else None,
            worker=None,
            child=None,
            lease_until=None,
            queued_at=None,
        ),
        _ours(claimed, owner),
    )
    return changed.rowcount == 1


def _ours(claimed: Claim, owner: Owner) -> dict[str, Any]:
    """Return the values of `_OURS`."""
    return {
        "the_chunk": claimed.chunk_id,
        "me": owner.worker,
        "my_child": owner.child,
        "the_attempt": claimed.attempts,
    }
