"""Jobs in a database, worked on by hand: the verbs of `db`, without Redis and without workers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from core.types import Priority, digest, encode_uris
from db import chunks, jobs, queries, workers
from db.chunks import Owner
from db.jobs import JobRequest, NewChunk
from db.workers import WorkerInfo
from worker.stub import StubClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.chunks import Claim, Outgoing
    from db.queries import Progress
    from db.session import Database

LABELS = [str(digit) for digit in range(10)]
REQUEST = JobRequest("a test", "digits", "f" * 32, "classyard", 3)
LEASE = 600.0
ANN, BOB = Owner("ann", 1), Owner("bob", 2)


@dataclass(frozen=True)
class Record:
    """A migrated database, and what a test does to it."""

    database: Database

    def job(
        self, *groups: Sequence[str], extra: bool = False, request: JobRequest = REQUEST
    ) -> int:
        """Submit one job: each group of URIs is a chunk."""
        job_id = self.database.write(jobs.create, request)
        new, position = [], 0
        for seq, uris in enumerate(groups):
            encoded = encode_uris(uris)
            columns = json.dumps([{"n": position + at} for at in range(len(uris))])
            new.append(
                NewChunk(
                    seq, len(uris), position, encoded, columns if extra else None, digest(encoded)
                )
            )
            position += len(uris)
        assert self.database.write(jobs.add_chunks, job_id, new)
        assert self.database.write(jobs.seal, job_id, position, len(groups))
        return job_id

    def take(self, job_id: int, limit: int = 1000) -> list[Outgoing]:
        """Mark pending chunks queued, as dispatch does."""
        terms = self.database.read(chunks.read_terms, job_id)
        assert terms is not None
        return self.database.write(chunks.take_pending, terms, limit)

    def claim(self, sent: Outgoing, owner: Owner = ANN, lease: float = LEASE) -> Claim | None:
        """Claim what a message names."""
        return self.database.write_one(
            chunks.claim, sent.terms.job_id, sent.chunk_id, sent.digest, owner, lease
        )

    def held(self, sent: Outgoing, owner: Owner = ANN) -> Claim:
        """Claim what nobody else can have."""
        claimed = self.claim(sent, owner)
        assert claimed is not None
        return claimed

    def complete(self, claimed: Claim, sent: Outgoing, owner: Owner = ANN) -> list[Outgoing] | None:
        """Record the stub's answers."""
        classification = StubClassifier(LABELS).classify(sent.uris, (), sent.terms.top_k)
        return self.database.write(
            chunks.complete, claimed, sent.terms, owner, sent.uris, classification
        )

    def work_off(self, job_id: int, owner: Owner = ANN) -> None:
        """Take, claim and complete until nothing is pending; close the job."""
        waiting = self.take(job_id)
        while waiting:
            sent = waiting.pop(0)
            following = self.complete(self.held(sent, owner), sent, owner)
            assert following is not None
            waiting += following
        assert self.database.write(jobs.close_if_done, job_id)

    def progress(self, job_id: int) -> Progress:
        """Where the job stands; the accounting holds whenever it is looked at."""
        found = self.database.read(queries.progress, job_id)
        assert found.total == found.ok + found.failed + found.cancelled + found.pending
        return found

    def chunk(self, chunk_id: int) -> Any:
        """One chunk's row."""
        return self.sql("SELECT * FROM chunks WHERE id = :id", id=chunk_id)[0]

    def rows(self, job_id: int) -> Sequence[Any]:
        """The job's results, in order of position."""
        return self.sql("SELECT * FROM results WHERE job_id = :id ORDER BY position", id=job_id)

    def sql(self, statement: str, **values: Any) -> Sequence[Any]:
        """Ask the database."""
        return self.database.read(lambda c: c.execute(text(statement), values).all())

    def change(self, statement: str, **values: Any) -> None:
        """Change the database behind the verbs' back: time passes, a worker dies."""
        self.database.write(lambda c: c.execute(text(statement), values))

    def ago(self, column: str, chunk_id: int, seconds: int = 3600) -> None:
        """Let a moment of a chunk lie in the past."""
        then = (
            f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds} seconds') || '000'"
            if self.database.dialect == "sqlite"
            else f"clock_timestamp() - interval '{seconds} seconds'"
        )
        self.change(f"UPDATE chunks SET {column} = {then} WHERE id = :id", id=chunk_id)

    def arrive(self, owner: Owner, slots: int = 1, queue: str = "classyard") -> None:
        """Let a worker give a sign of life."""
        info = WorkerInfo(owner.worker, "here", 1, queue, slots, "stub", "CPU")
        self.database.write(workers.heartbeat, info)

    def die(self, owner: Owner) -> None:
        """Let a worker have been silent for an hour."""
        then = (
            "strftime('%Y-%m-%d %H:%M:%f', 'now', '-3600 seconds') || '000'"
            if self.database.dialect == "sqlite"
            else "clock_timestamp() - interval '3600 seconds'"
        )
        self.change(f"UPDATE workers SET last_seen = {then} WHERE id = :id", id=owner.worker)


def uris(count: int, start: int = 0) -> list[str]:
    """Return URIs that all differ."""
    return [f"file:///pictures/{number}.jpg" for number in range(start, start + count)]


def grouped(total: int, size: int) -> list[list[str]]:
    """Return `total` URIs in chunks of `size`."""
    every = uris(total)
    return [every[at : at + size] for at in range(0, total, size)]


def with_priority(priority: Priority, queue: str = "classyard") -> JobRequest:
    """Return a request of another priority or queue."""
    return replace(REQUEST, priority=priority, queue=queue)
