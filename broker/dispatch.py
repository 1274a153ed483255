"""Sends chunks: the first window of a job, then the next one as each ends.

A chunk is marked queued in SQL first and sent after the commit. What could not be sent is marked
pending again; if even that fails, the sweep finds a queued chunk without a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu.entity import Queue
from sqlalchemy import func, select, update

from broker.app import BROKER_ERRORS, CLASSIFY, VERSION, broker_error
from core.tracing import TRACEPARENT
from core.types import ChunkStatus
from db.chunks import read_terms, take_pending
from db.models import Chunk, Job
from db.workers import live_slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery
    from kombu.messaging import Producer
    from sqlalchemy import Connection

    from core.settings import Settings
    from db.chunks import Outgoing
    from db.session import Database

#: Chunks of a job that are sent though no worker is there yet.
LEAST = 2


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends the chunks of jobs, never more at once than the window."""

    app: Celery
    database: Database
    settings: Settings

    def top_up(self, job_id: int) -> int:
        """Fill the job's window; return how many chunks were sent.

        Raises:
            BrokerError: if Redis did not take them; they are pending again.
        """
        chunks = self.database.write(self._take, job_id)
        self.send(chunks)
        return len(chunks)

    def send(self, chunks: Sequence[Outgoing]) -> None:
        """Send chunks that are marked queued.

        Raises:
            BrokerError: if Redis did not take them; they are pending again.
        """
        if not chunks:
            return
        try:
            with self.app.producer_pool.acquire(block=True, timeout=30) as producer:
                if len(chunks) == 1:
                    self._publish(producer, chunks[0])
                else:
                    with producer.batch():
                        for chunk in chunks:
                            self._publish(producer, chunk)
        except BROKER_ERRORS as error:
            # Which of them arrived is unknown. Sent twice is harmless, not at all is not.
            self.database.write(_unsend, [chunk.chunk_id for chunk in chunks])
            raise broker_error("Redis did not take the messages", error) from error

    def _take(self, connection: Connection, job_id: int) -> list[Outgoing]:
        terms = read_terms(connection, job_id)
        if terms is None:
            return []
        # Of many that fill one window at once each must see what the others took.
        connection.execute(select(Job.id).where(Job.id == job_id).with_for_update(key_share=True))
        in_flight = connection.execute(
            select(func.count()).where(
                Chunk.job_id == job_id,
                Chunk.status.in_((ChunkStatus.QUEUED, ChunkStatus.RUNNING)),
            )
        ).scalar_one()
        free = self.window(connection, terms.queue) - in_flight
        return take_pending(connection, terms, free) if free > 0 else []

    def window(self, connection: Connection, queue: str) -> int:
        """Return how many chunks of one job may be in Redis or in workers' hands."""
        if self.settings.window:
            return self.settings.window
        return max(LEAST, 2 * live_slots(connection, self.settings.dead_after, queue))

    def _publish(self, producer: Producer, chunk: Outgoing) -> None:
        terms = chunk.terms
        shown = (
            f"job {terms.job_id} chunk {chunk.seq + 1}/{terms.chunks}, "
            f"{len(chunk.uris)} images, {terms.model}"
        )
        # For the sweep: which chunk this is, and since when it waits (database time).
        headers: dict[str, Any] = {
            "chunk_id": chunk.chunk_id,
            "queued_at": chunk.queued_at.timestamp(),
        }
        if terms.traceparent:
            headers[TRACEPARENT] = terms.traceparent
        self.app.send_task(
            CLASSIFY,
            kwargs={
                "v": VERSION,
                "job_id": terms.job_id,
                "chunk_id": chunk.chunk_id,
                "digest": chunk.digest,
                "uris": list(chunk.uris),
            },
            task_id=f"chunk-{chunk.chunk_id}-{uuid4().hex[:8]}",
            queue=Queue(terms.queue),
            priority=terms.priority,
            # What Flower, events and logs show instead of the URIs, which may be signed.
            argsrepr=shown,
            kwargsrepr="",
            headers=headers,
            producer=producer,
        )


def _unsend(connection: Connection, chunk_ids: Sequence[int]) -> None:
    connection.execute(
        update(Chunk)
        .where(Chunk.id.in_(chunk_ids), Chunk.status == ChunkStatus.QUEUED)
        .values(status=ChunkStatus.PENDING, queued_at=None)
    )
