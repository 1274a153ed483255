"""Cancel, pause, resume, retry and the error limit at the tables: the sums hold at every step."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from core.errorlimit import parse_error_limit
from core.errors import Code, JobStatusError, NoSuchJobError, UsageError
from core.types import Classification, Failure, JobStatus
from db import chunks, duties, jobs, recovery, steering
from db import retry as retry_images
from db.models import Notice
from tests.support.record import ANN, LABELS, REQUEST, Record, grouped
from worker.stub import StubClassifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.types import Outcome
    from db.chunks import Claim, Outgoing
    from db.session import Database


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


def answer(record: Record, claimed: Claim, sent: Outgoing, failing: set[int]) -> list[Outgoing]:
    """Complete a chunk; the images at the positions `failing` fail. Returns what to send next."""
    stub = StubClassifier(LABELS).classify(sent.uris, (), sent.terms.top_k)
    outcomes: list[Outcome] = [
        Failure(Code.HTTP_5XX if position % 2 else Code.NOT_AN_IMAGE, "no") if position in failing
        else outcome
        for position, outcome in zip(claimed.positions, stub.outcomes, strict=True)
    ]  # fmt: skip
    done = record.database.write(
        chunks.complete, claimed, sent.terms, ANN, sent.uris, Classification(outcomes)
    )
    assert done is not None
    return done


def run(record: Record, job_id: int, failing: set[int]) -> None:
    """Work the job off; close it."""
    record.database.write(chunks.mark_running, job_id)
    while waiting := record.take(job_id):
        for sent in waiting:
            answer(record, record.held(sent), sent, failing)
    assert record.database.write(jobs.close_if_done, job_id)


def retry(record: Record, job_id: int, codes: Sequence[str] | None = None, size: int = 3) -> int:
    images, last = 0, -1
    while True:
        put = record.database.write(retry_images.retry_slice, job_id, codes, last, size)
        if not put.images:
            return images
        images, last = images + put.images, put.last


def check(record: Record, job_id: int) -> None:
    """The accounting and the rows tell the same story, and every position is in it once."""
    progress = record.progress(job_id)
    assert min(progress.ok, progress.failed, progress.cancelled, progress.pending) >= 0
    rows = record.rows(job_id)
    ok = sum(row.status == "ok" for row in rows)
    assert ok == progress.ok
    assert len(rows) - ok == progress.failed + progress.retrying
    assert len({row.position for row in rows}) == len(rows)
    assert len(rows) - progress.retrying == progress.done
    assert all(row.uri == f"file:///pictures/{row.position}.jpg" for row in rows)
    if progress.status.terminal and not progress.running:
        assert progress.retrying == 0 or progress.status in {"cancelled", "failed"}


def test_a_retry_replaces_failed_rows_only(record: Record) -> None:
    job = record.job(*grouped(12, 4), extra=True)
    run(record, job, failing={1, 2, 5, 9})
    before = {row.position: row for row in record.rows(job)}
    assert record.progress(job).status is JobStatus.COMPLETED_WITH_ERRORS
    assert retry(record, job) == 4
    check(record, job)
    held = record.progress(job)
    assert (held.status, held.ok, held.failed, held.pending) == (JobStatus.RUNNING, 8, 0, 4)
    assert held.retrying == 4
    assert len(record.rows(job)) == 12  # a position is never without its row
    assert retry(record, job) == 0  # what is being retried is not retried twice
    run(record, job, failing={9})
    after = {row.position: row for row in record.rows(job)}
    check(record, job)
    assert record.progress(job).failed == 1
    assert {p: row.attempts for p, row in after.items() if row.attempts > 1} == {
        1: 2, 2: 2, 5: 2, 9: 2,
    }  # fmt: skip
    assert all(after[p] == before[p] for p in after if p not in {1, 2, 5, 9})
    assert all(after[p].extra == before[p].extra and after[p].extra for p in after)
    assert retry(record, job) == 1
    run(record, job, failing=set())
    assert record.progress(job).status is JobStatus.COMPLETED
    assert record.rows(job)[9].attempts == 3


def test_a_retry_of_some_codes_leaves_the_others(record: Record) -> None:
    job = record.job(*grouped(8, 4))
    run(record, job, failing={1, 2, 3, 4})
    assert retry(record, job, ["http_5xx"]) == 2
    run(record, job, failing=set())
    check(record, job)
    assert [row.position for row in record.rows(job) if row.status == "failed"] == [2, 4]


def test_a_retry_that_kills_its_workers_is_split_and_ends_in_the_same_rows(record: Record) -> None:
    job = record.job(*grouped(6, 6))
    run(record, job, failing={0, 1, 2, 3, 4, 5})
    assert retry(record, job, size=6) == 6
    for _ in range(12):
        waiting = record.take(job)
        while waiting:
            claimed = record.held(sent := waiting.pop())
            if 3 in claimed.positions:  # its worker dies
                record.database.write(recovery.release_dead, 30)
            else:
                waiting += answer(record, claimed, sent, failing=set())
            check(record, job)
        for chunk in record.database.read(recovery.troubled, 5):
            record.database.write(recovery.resolve, chunk, 5)
            check(record, job)
    assert record.database.write(jobs.close_if_done, job)
    rows = record.rows(job)
    assert [row.error_code for row in rows if row.status == "failed"] == ["worker_crash"]
    assert [row.attempts for row in rows] == [2] * 6


def test_a_cancelled_retry_leaves_images_failed_as_they_were(record: Record) -> None:
    job = record.job(*grouped(6, 3))
    run(record, job, failing={0, 4})
    before = [row[3:] for row in record.rows(job)]
    assert retry(record, job, size=1) == 2
    record.database.write(steering.cancel, job)
    assert record.database.write(steering.end_unsent, job) == 2
    check(record, job)
    held = record.progress(job)
    assert (held.status, held.failed, held.cancelled) == (JobStatus.CANCELLED, 2, 0)
    assert [row[3:] for row in record.rows(job)] == before
    assert retry(record, job) == 2
    run(record, job, failing=set())
    assert record.progress(job).status is JobStatus.COMPLETED


def test_cancelled_chunks_never_start_and_a_dead_workers_chunk_ends_too(record: Record) -> None:
    job = record.job(*grouped(12, 2))
    first, second, third, fourth = record.take(job, 4)
    running, orphan = record.held(first), record.held(second)
    record.database.write(steering.cancel, job)
    assert record.claim(third) is None  # from the first UPDATE on, before any chunk is touched
    reason = record.database.read(chunks.refused, job, fourth.chunk_id, fourth.digest)
    assert reason == "stopped_dropped"
    assert record.database.write(steering.end_unsent, job) == 4
    answer(record, running, first, failing=set())
    assert not record.take(job)
    check(record, job)
    assert record.progress(job).pending == 2  # the other running chunk: its worker is dead
    record.database.write(recovery.release_dead, 30)
    assert record.database.read(duties.stopped_jobs) == [job]
    record.database.write(steering.end_unsent, job)
    assert record.database.read(duties.stopped_jobs) == []
    held = record.progress(job)
    assert (held.ok, held.cancelled, held.pending) == (2, 10, 0)
    assert orphan.chunk_id == second.chunk_id
    assert not record.database.write(jobs.close_if_done, job)


def test_a_paused_job_waits_and_resumes(record: Record) -> None:
    job = record.job(*grouped(6, 2))
    first, second = record.take(job, 2)
    running = record.held(first)
    record.database.write(steering.pause, job)
    assert record.claim(second) is None
    assert not record.take(job)
    answer(record, running, first, failing=set())
    assert not record.database.write(jobs.close_if_done, job)
    record.database.write(steering.resume, job)
    # The window's messages are gone: all that is not done is to be sent again.
    assert len(record.take(job)) == 2
    check(record, job)


def test_a_paused_job_without_chunks_left_closes(record: Record) -> None:
    job = record.job(*grouped(2, 2))
    (sent,) = record.take(job)
    running = record.held(sent)
    record.database.write(chunks.mark_running, job)
    record.database.write(steering.pause, job)
    answer(record, running, sent, failing=set())
    assert record.database.write(jobs.close_if_done, job)
    assert record.progress(job).status is JobStatus.COMPLETED


def test_what_cannot_be_is_said(record: Record) -> None:
    job = record.job(*grouped(2, 2))
    with pytest.raises(JobStatusError, match="job 1 is queued: it is not paused"):
        record.database.write(steering.resume, job)
    run(record, job, failing=set())
    for verb in (steering.cancel, steering.pause, steering.resume):
        with pytest.raises(JobStatusError, match="job 1 is completed: it has ended"):
            record.database.write(verb, job)
    with pytest.raises(JobStatusError, match="no image failed"):
        retry(record, job)
    with pytest.raises(NoSuchJobError, match="no job 77"):
        record.database.write(steering.cancel, 77)


def test_too_many_errors_stop_a_job_once(record: Record) -> None:
    request = replace(REQUEST, options={"max_errors": "1", "webhook": "http://x/"})
    job = record.job(*grouped(8, 2), request=request)
    stop = steering.stop_if_failing
    waiting = record.take(job)
    for expected, failing in ((False, {0}), (True, {2, 3})):
        sent = waiting.pop(0)
        answer(record, record.held(sent), sent, failing)
        assert record.database.write(stop, job, sent.terms.error_limit) is expected
    assert not record.database.write(stop, job, "1")
    assert record.database.read(duties.stopped_jobs) == [job]
    record.database.write(steering.end_unsent, job)
    assert record.database.read(duties.stopped_jobs) == []
    held = record.progress(job)
    assert (held.status, held.failed, held.cancelled) == (JobStatus.FAILED, 3, 4)
    assert held.error == "stopped: 3 of 4 images failed, --max-errors is 1"
    check(record, job)
    statuses = record.database.read(lambda c: c.execute(select(Notice.status)).scalars().all())
    assert statuses == ["failed"]


@pytest.mark.parametrize(
    ("text", "failed", "done", "exceeded"),
    [
        ("0", 1, 1, True), ("0", 0, 1, False), ("3", 3, 3, False), ("3", 4, 9, True),
        ("5%", 99, 99, False), ("5%", 5, 100, False), ("5%", 6, 100, True), ("0.5%", 1, 150, True),
    ],
)  # fmt: skip
def test_error_limit(text: str, failed: int, done: int, exceeded: bool) -> None:
    assert parse_error_limit(text).exceeded(failed, done) is exceeded


@pytest.mark.parametrize("text", ["", "x", "-1", "5%%", "1.5", "101%", "nan%", "5 %x"])
def test_error_limit_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--max-errors"):
        parse_error_limit(text)


@pytest.mark.parametrize("seed", range(4))
def test_the_sums_hold_whatever_happens_in_whatever_order(record: Record, seed: int) -> None:
    """Every verb on one job in random order, checked after each."""
    dice = random.Random(seed)
    job = record.job(*grouped(24, 3), extra=True)
    sent: list[Outgoing] = []
    held: list[tuple[Claim, Outgoing]] = []

    def steer(verb: object) -> None:
        try:
            record.database.write(verb, job)  # type: ignore[arg-type]
        except JobStatusError:
            return

    def claim() -> None:
        if sent and (claimed := record.claim(message := sent.pop(dice.randrange(len(sent))))):
            held.append((claimed, message))

    def complete() -> None:
        if held:
            claimed, message = held.pop()
            failing = {p for p in claimed.positions if dice.random() < 0.4}
            sent.extend(answer(record, claimed, message, failing))

    def again() -> None:
        try:
            retry(record, job, dice.choice([None, ["http_5xx"]]), dice.randrange(1, 6))
        except JobStatusError:
            return

    def hand_back() -> None:
        if held:
            failure = dice.choice([None, Failure(Code.MODEL_UNAVAILABLE, "no")])
            record.database.write(chunks.hand_back, held.pop()[0], ANN, failure)

    def die() -> None:
        held.clear()
        record.database.write(recovery.release_dead, 30)

    def resolve() -> None:
        for chunk in record.database.read(recovery.troubled, 3):
            record.database.write(recovery.resolve, chunk, 3)

    common = [lambda: sent.extend(record.take(job, 2)), claim, claim, complete, complete]
    rare = [
        again, hand_back, die, resolve,
        lambda: steer(steering.pause), lambda: steer(steering.resume),
        lambda: steer(steering.cancel), lambda: record.database.write(steering.end_unsent, job),
        lambda: record.database.write(jobs.close_if_done, job),
    ]  # fmt: skip
    for _ in range(120):
        dice.choice(common if dice.random() < 0.75 else rare)()
        check(record, job)
