"""Whatever happens, in whatever order: every position counted once, and one row for it at most.

A state machine plays submitters, Redis, workers, sweepers and a person at the desk against the
verbs of `db`. Messages are lost and come twice; workers die, and some of the dead come back.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.errors import Code, JobStatusError
from core.types import Failure, JobStatus
from db import chunks, duties, jobs, recovery, retry, steering
from db.chunks import Claim, Outgoing, Owner
from tests.support.record import LABELS, Record
from worker.stub import expected

if TYPE_CHECKING:
    from db.session import Database

MOST_ATTEMPTS = 4
PICK = st.integers(0, 10**6)
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


class Held(NamedTuple):
    """A chunk in some worker's hands, or so that worker thinks."""

    sent: Outgoing
    claim: Claim
    owner: Owner


def uri_of(position: int) -> str:
    """Return a URI that tells its position; every fifth one fails."""
    return f"stub://fail/empty/{position}" if position % 5 == 4 else f"file:///{position}.jpg"


class Yard(RuleBasedStateMachine):
    """Everything that can happen to jobs."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record
        self.totals: dict[int, int] = {}
        self.messages: list[Outgoing] = []
        self.delivered: list[Outgoing] = []
        self.held: list[Held] = []
        self.workers: list[Owner] = []
        self.born = 0

    def do(self, work: Any, *args: Any) -> Any:
        return self.record.database.write(work, *args)

    @initialize()
    def an_empty_yard(self) -> None:
        for table in ("results", "chunks", "notices", "jobs", "workers"):
            self.record.change(f"DELETE FROM {table}")
        self.hire()

    def hire(self) -> Owner:
        self.born += 1
        owner = Owner(f"worker {self.born}", self.born)
        self.workers.append(owner)
        self.record.arrive(owner)
        return owner

    # Submitters and Redis

    @rule(sizes=SIZES)
    @precondition(lambda self: len(self.totals) < 3)
    def submit(self, sizes: list[int]) -> None:
        groups, position = [], 0
        for size in sizes:
            groups.append([uri_of(position + at) for at in range(size)])
            position += size
        self.totals[self.record.job(*groups, extra=len(sizes) % 2 == 0)] = position

    @rule(pick=PICK, limit=st.integers(1, 4))
    @precondition(lambda self: self.totals)
    def dispatch(self, pick: int, limit: int) -> None:
        sent = self.record.take(self.a_job(pick), limit)
        assert len(sent) <= limit
        self.messages += sent

    @rule(pick=PICK)
    @precondition(lambda self: self.messages)
    def lose_a_message(self, pick: int) -> None:
        self.messages.pop(pick % len(self.messages))

    @rule(pick=PICK)
    @precondition(lambda self: self.delivered)
    def redeliver(self, pick: int) -> None:
        self.messages.append(self.delivered[pick % len(self.delivered)])

    # Workers

    @rule(pick=PICK, who=PICK)
    @precondition(lambda self: self.messages)
    def claim(self, pick: int, who: int) -> None:
        sent = self.messages.pop(pick % len(self.messages))
        self.delivered.append(sent)
        owner = self.workers[who % len(self.workers)]
        claimed = self.record.claim(sent, owner)
        if claimed is not None:
            self.held.append(Held(sent, claimed, owner))

    @rule(pick=PICK, arrives=st.booleans())
    @precondition(lambda self: self.held)
    def complete(self, pick: int, arrives: bool) -> None:
        held = self.held.pop(pick % len(self.held))
        following = self.record.complete(held.claim, held.sent, held.owner)
        if following is None:
            return
        self.do(jobs.close_if_done, held.sent.terms.job_id)
        if arrives:
            self.messages += following

    @rule(pick=PICK, code=st.sampled_from([None, Code.INTERNAL, Code.MODEL_UNAVAILABLE]))
    @precondition(lambda self: self.held)
    def hand_back(self, pick: int, code: Code | None) -> None:
        held = self.held.pop(pick % len(self.held))
        self.do(chunks.hand_back, held.claim, held.owner, Failure(code, "why") if code else None)

    @rule(pick=PICK, for_good=st.booleans())
    def crash(self, pick: int, for_good: bool) -> None:
        """A worker dies; or it is only frozen, and goes on later with what it holds."""
        owner = self.workers.pop(pick % len(self.workers))
        self.record.die(owner)
        if for_good:
            self.held = [held for held in self.held if held.owner != owner]
        self.hire()

    @rule(pick=PICK)
    @precondition(lambda self: self.held)
    def overtake(self, pick: int) -> None:
        """A lease runs out, the message comes again: two workers think that they hold the chunk."""
        sent = self.held[pick % len(self.held)].sent
        self.record.ago("lease_until", sent.chunk_id)
        owner = self.hire()
        claimed = self.record.claim(sent, owner)
        if claimed is not None:
            self.held.append(Held(sent, claimed, owner))

    @rule(pick=PICK)
    @precondition(lambda self: self.messages)
    def poison(self, pick: int) -> None:
        """A chunk kills everybody who touches it, until the sweep does something about it."""
        sent = self.messages.pop(pick % len(self.messages))
        for _ in range(recovery.SPLIT_AT):
            owner = self.hire()
            if self.record.claim(sent, owner) is None:
                return
            self.workers.remove(owner)
            self.record.die(owner)
            self.do(recovery.release_dead, 35)
        self.sweep()

    # Sweepers

    @rule()
    def sweep(self) -> None:
        self.do(recovery.release_dead, 35)
        for chunk_id in self.record.database.read(recovery.troubled, MOST_ATTEMPTS):
            self.do(recovery.resolve, chunk_id, MOST_ATTEMPTS)
        for job in self.record.database.read(duties.stopped_jobs):
            self.do(steering.end_unsent, job)
        oldest = min((sent.queued_at for sent in self.messages), default=None)
        unacknowledged = {held.sent.chunk_id for held in self.held}
        for backlog in self.record.database.read(recovery.backlogs):
            self.do(recovery.release_lost, backlog, oldest, unacknowledged, -1)
        for job in self.totals:
            self.do(jobs.close_if_done, job)
            self.messages += self.record.take(job, 2)

    # A person at the desk

    @rule(pick=PICK, verb=st.sampled_from([steering.cancel, steering.pause, steering.resume]))
    @precondition(lambda self: self.totals)
    def steer(self, pick: int, verb: Any) -> None:
        with suppress(JobStatusError):
            self.do(verb, self.a_job(pick))

    @rule(pick=PICK, size=st.integers(1, 9))
    @precondition(lambda self: self.totals)
    def retry(self, pick: int, size: int) -> None:
        job, after = self.a_job(pick), -1
        with suppress(JobStatusError):
            while (done := self.do(retry.retry_slice, job, None, after, size)).images:
                after = done.last

    def a_job(self, pick: int) -> int:
        return list(self.totals)[pick % len(self.totals)]

    # The promise

    @invariant()
    def every_position_is_counted_once(self) -> None:
        for job, total in self.totals.items():
            progress = self.record.progress(job)
            assert progress.total == total
            assert min(progress.ok, progress.failed, progress.cancelled, progress.pending) >= 0
            rows = self.record.rows(job)
            assert all(row.uri == uri_of(row.position) for row in rows)
            good = [row for row in rows if row.status == "ok"]
            assert all(row.class_index == expected(row.uri, LABELS) for row in good)
            # The failed row of an image that is tried again stays until it is replaced.
            retried = self.record.sql(
                "SELECT coalesce(sum(size), 0) FROM chunks WHERE job_id = :id AND retry"
                " AND status IN ('pending', 'queued', 'running')",
                id=job,
            )[0][0]
            assert len(good) == progress.ok
            assert len(rows) == progress.ok + progress.failed + retried
            if progress.status in {JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_ERRORS}:
                assert (progress.pending, len(rows)) == (0, total)

    def teardown(self) -> None:
        """Let the yard run on in peace: every job ends."""
        for job in self.totals:
            with suppress(JobStatusError):
                self.do(steering.resume, job)
        for owner in self.workers:
            self.record.die(owner)
        self.held, self.workers = [], []
        self.hire()
        for _ in range(60):
            self.sweep()
            while self.messages:
                self.claim(0, 0)
                while self.held:
                    self.complete(0, arrives=True)
            if all(self.record.progress(job).status.terminal for job in self.totals):
                break
        self.sweep()
        self.every_position_is_counted_once()
        for job, total in self.totals.items():
            progress = self.record.progress(job)
            assert progress.status.terminal
            assert progress.pending == 0
            positions = Counter(row.position for row in self.record.rows(job))
            assert sum(positions.values()) == total - progress.cancelled
            assert set(positions.values()) <= {1}


def test_no_order_of_events_loses_or_doubles_a_position(database: Database) -> None:
    examples = 20 if database.dialect == "sqlite" else 6
    run_state_machine_as_test(
        lambda: Yard(Record(database)),
        settings=profile(
            max_examples=examples,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # Shrinking takes minutes on a database: add Phase.shrink when there is something to shrink.
            phases=(Phase.reuse, Phase.generate),
        ),
    )
