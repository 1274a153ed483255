"""Submit: cut images into chunks, write job and chunks, make the job visible, send its first window."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import IntegrityError

from broker.app import ping
from broker.dispatch import Dispatcher
from broker.sweep import discard
from core.errors import BrokerError, ClassyardError
from core.tracing import TRACEPARENT, Tracing
from core.types import JobStatus, digest, encode_uris
from db import jobs, queries, reuse
from db.jobs import NewChunk
from producer.chunking import sized_blocks
from producer.quotas import check_backlog, check_size
from producer.sources.outside import OutsideKept
from producer.undone import Undone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from celery import Celery

    from core.settings import Settings
    from db.jobs import JobRequest
    from db.session import Database
    from producer.sources import Block, Sources

#: Chunks written in one transaction.
SLICE = 32
#: Seconds without a write after which a submission under the same key is taken for dead.
SILENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted job: `existing` under the same key before; `outside`, a file workers will refuse."""

    job_id: int
    total: int
    existing: bool = False
    skipped: int = 0
    outside: Path | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """What a producer works with."""

    app: Celery
    database: Database
    settings: Settings
    tracing: Tracing = field(default_factory=Tracing)

    @property
    def dispatcher(self) -> Dispatcher:
        """Sends the chunks of this desk's jobs."""
        return Dispatcher(self.app, self.database, self.settings)


def submit(
    desk: Desk,
    sources: Sources,
    request: JobRequest,
    chunk_size: int = 0,
    on_read: Callable[[int], None] = lambda total: None,
    *,
    skip_done: bool = False,
) -> Submission:
    """Submit all images of `sources` as one job, reading them lazily.

    `skip_done` leaves out URIs that have labels by this very model, from whichever job.
    `chunk_size` 0 means: chosen from the number of images, the workers and the model's speed.
    `on_read` is told how many images were read so far.

    Raises:
        ClassyardError: a source cannot be read, or a quota is reached; no job is created.
        BrokerError: if Redis is away. Before the job is whole nothing is created; after it, the job
            is saved, the text names it, and it starts once Redis is back.
    """
    ping(desk.app)
    check_backlog(desk.database, desk.settings)
    if request.options.get("reuse"):
        desk.database.write(reuse.index_contents)
    with desk.tracing.span("submit") as span:
        if span.traceparent:
            # Kept with the job: chunks that are sent later, by whomever, belong to this trace.
            traced = {**request.options, TRACEPARENT: span.traceparent}
            request = replace(request, options=traced)
        reader = Undone(sources, desk.database, request) if skip_done else sources
        submission = _submit(desk, reader, request, chunk_size, on_read)
        span.describe({"job_id": submission.job_id, "images": submission.total})
    return submission


def _submit(
    desk: Desk,
    reader: Sources | Undone,
    request: JobRequest,
    chunk_size: int,
    on_read: Callable[[int], None],
) -> Submission:
    job_id = _create(desk.database, request)
    if isinstance(job_id, Submission):
        return job_id
    try:
        blocks = sized_blocks(desk, request, reader, chunk_size)
        kept = OutsideKept(request.options.get("roots", ()))
        total, count = _write_chunks(desk, job_id, kept.looked_at(blocks), on_read)
        skipped = reader.skipped if isinstance(reader, Undone) else 0
        if not desk.database.write(jobs.seal, job_id, total, count, skipped):
            raise ClassyardError("the submission took too long and was discarded: submit again")
    except BaseException:  # also Ctrl-C: a job is submitted whole or not at all
        discard(desk.database, job_id)
        raise
    try:
        desk.dispatcher.top_up(job_id)
    except BrokerError as error:
        raise BrokerError(
            f"{error}. Job {job_id} is saved and starts by itself once Redis is back"
        ) from error
    if not total:
        desk.database.write(jobs.close_if_done, job_id)
    return Submission(job_id, total, skipped=skipped, outside=kept.first)


def _create(database: Database, request: JobRequest) -> int | Submission:
    """Return the new job's id, or the submission that was there under its key."""
    while True:
        if request.key is not None and (found := _existing(database, request.key)):
            return found
        try:
            return database.write(jobs.create, request)
        except IntegrityError:
            if request.key is None:
                raise
            # Somebody else has just begun to submit under this key: theirs is the job.


def _existing(database: Database, key: str) -> Submission | None:
    """Return the job of this key once it is submitted; one that fell silent is discarded."""
    while (found := database.read(jobs.find_key, key)) is not None:
        job_id, status = found
        if status != JobStatus.SUBMITTING:
            return Submission(job_id, database.read(queries.progress, job_id).total, existing=True)
        if database.read(jobs.silence, job_id) > SILENT_SECONDS:
            discard(database, job_id, SILENT_SECONDS)
        else:
            time.sleep(0.2)
    return None


def _write_chunks(
    desk: Desk, job_id: int, blocks: Iterable[Block], on_read: Callable[[int], None]
) -> tuple[int, int]:
    """Write all chunks; return how many images and chunks there are."""
    total = count = 0
    waiting: list[NewChunk] = []
    for block in blocks:
        waiting.append(_chunk(count, total, block))
        total += len(block.uris)
        count += 1
        check_size(total, desk.settings)
        if len(waiting) == SLICE:
            _write(desk.database, job_id, waiting)
            waiting = []
            on_read(total)
    _write(desk.database, job_id, waiting)
    on_read(total)
    return total, count


def _write(database: Database, job_id: int, chunks: list[NewChunk]) -> None:
    if not database.write(jobs.add_chunks, job_id, chunks):
        raise ClassyardError("the submission took too long and was discarded: submit again")


def _chunk(seq: int, first_position: int, block: Block) -> NewChunk:
    uris_json = encode_uris(block.uris)
    extra = None if block.extras is None else json.dumps(block.extras, allow_nan=False)
    return NewChunk(seq, len(block.uris), first_position, uris_json, extra, digest(uris_json))
