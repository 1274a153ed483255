"""Claim, complete, hand back: one owner at a time, one row per position, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from core.errors import Code
from core.types import Classification, Failure
from db import chunks, jobs
from db.chunks import Owner
from tests.support.record import ANN, BOB, LABELS, LEASE, Record, grouped, uris
from worker.stub import expected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from db.chunks import Claim, Outgoing
    from db.session import Database


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


def at_once(*works: Callable[[], Any]) -> Sequence[Any]:
    """Do several things in as many threads, started together."""
    gate = Barrier(len(works))

    def wait_and_do(work: Callable[[], Any]) -> Any:
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(wait_and_do, works))


def test_of_many_claimers_at_once_one_gets_the_chunk(record: Record) -> None:
    for _ in range(5):
        (sent,) = record.take(record.job(uris(3)))
        owners = [Owner(f"worker {n}", n) for n in range(4)]
        claims = at_once(*(partial(record.claim, sent, owner) for owner in owners))
        (winner,) = [owner for owner, claimed in zip(owners, claims, strict=True) if claimed]
        row = record.chunk(sent.chunk_id)
        assert (row.status, row.worker, row.attempts) == ("running", winner.worker, 1)


def test_of_two_finishers_at_once_one_writes(record: Record) -> None:
    for _ in range(5):
        job = record.job(uris(40))
        (sent,) = record.take(job)
        first = record.held(sent, ANN)
        record.ago("lease_until", sent.chunk_id)
        second = record.held(sent, BOB)
        assert (first.attempts, second.attempts) == (1, 2)
        done = at_once(
            partial(record.complete, first, sent, ANN), partial(record.complete, second, sent, BOB)
        )
        assert done == [None, []], "the one whose lease ran out must not write"
        rows = record.rows(job)
        assert [row.position for row in rows] == list(range(40))
        assert {row.worker for row in rows} == {"bob"}


def test_the_same_finish_twice_writes_once(record: Record) -> None:
    job = record.job(uris(2))
    (sent,) = record.take(job)
    claimed = record.held(sent)
    done = at_once(*(lambda: record.complete(claimed, sent) for _ in range(3)))
    assert sorted(map(str, done)) == ["None", "None", "[]"]
    assert len(record.rows(job)) == 2


@pytest.mark.parametrize("other", [Owner(BOB.worker, ANN.child), Owner(ANN.worker, ANN.child + 1)])
def test_who_handed_a_chunk_back_cannot_finish_it_for_its_next_owner(
    record: Record, other: Owner
) -> None:
    """A stop counts no attempt, so the next owner's number of attempts is the same."""
    (sent,) = record.take(record.job(uris(2)))
    late = record.held(sent)
    assert record.database.write(chunks.hand_back, late, ANN, None)
    again = record.held(sent, other)
    assert again.attempts == late.attempts
    assert record.complete(late, sent) is None
    assert not record.database.write(chunks.hand_back, late, ANN, None)
    assert record.complete(again, sent, other) == []


def test_a_chunk_claimed_again_cannot_be_handed_back_for_the_first_time(record: Record) -> None:
    (sent,) = record.take(record.job(uris(2)))
    first, again = record.held(sent), record.held(sent)
    assert (first.attempts, again.attempts) == (1, 2)
    assert not record.database.write(chunks.hand_back, first, ANN, None)
    assert record.complete(again, sent) == []


def test_a_row_says_everything(record: Record) -> None:
    job = record.job(["stub://fail/http_4xx/a", "file:///b.jpg"], extra=True)
    record.work_off(job)
    bad, good = record.rows(job)
    assert (bad.position, bad.uri, bad.status) == (0, "stub://fail/http_4xx/a", "failed")
    assert (bad.error_code, bad.label, bad.predictions) == ("http_4xx", None, None)
    assert (good.position, good.status, good.error_code) == (1, "ok", None)
    assert good.class_index == expected(good.uri, LABELS)
    assert (good.label, good.score) == (str(good.class_index), 0.5)
    assert (good.width, good.height, good.model, good.worker) == (224, 224, "digits", "ann")
    ranks = record.sql("SELECT rank, class_index, label, score FROM predictions ORDER BY rank")
    assert [(r.rank, r.score) for r in ranks] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert (ranks[0].class_index, ranks[0].label) == (good.class_index, good.label)
    extras = record.database.read(lambda c: c.execute(chunks.RESULTS.select()).all())
    assert [row.extra for row in extras] == [{"n": 0}, {"n": 1}]
    row = record.chunk(extras[0].chunk_id)
    assert (row.status, row.ok, row.failed, row.uris, row.extra) == ("done", 1, 1, None, None)
    progress = record.progress(job)
    assert (progress.status, progress.ok, progress.failed) == ("completed_with_errors", 1, 1)


def test_texts_that_break_careless_writers(record: Record) -> None:
    awkward = [
        "file:///a\tb\\N.jpg",
        "file:///ü'\"--;.jpg",
        "file:///%00\\.jpg",
        "file:///\U0001f389",
    ]
    job = record.job(awkward)
    record.work_off(job)
    assert [row.uri for row in record.rows(job)] == awkward


def test_outcomes_that_do_not_fit_write_nothing(record: Record) -> None:
    job = record.job(uris(3))
    (sent,) = record.take(job)
    claimed = record.held(sent)
    short = Classification([Failure(Code.EMPTY, "")] * 2)
    with pytest.raises(ValueError, match="2 outcomes for 3 positions"):
        record.database.write(chunks.complete, claimed, sent.terms, ANN, sent.uris, short)
    assert record.rows(job) == []
    assert record.chunk(sent.chunk_id).status == "running"


def test_nothing_to_claim(record: Record) -> None:
    """A forged digest, another job's number, a chunk in work, a finished chunk, an ended job."""
    job = record.job(uris(1), uris(1, 1), uris(1, 2))
    first, second, third = record.take(job)

    def why(sent: Outgoing) -> str:
        return record.database.read(chunks.refused, sent.terms.job_id, sent.chunk_id, sent.digest)

    forged = replace(first, digest="0" * 32)
    strange = replace(first, terms=replace(first.terms, job_id=job + 1))
    for message in (forged, strange, replace(first, chunk_id=10**6)):
        assert record.claim(message) is None
        assert why(message) == "messages_refused"
    claimed = record.held(first)
    assert record.claim(first, BOB) is None
    assert why(first) == "duplicates_dropped"
    record.complete(claimed, first)
    assert record.claim(first, BOB) is None
    assert why(first) == "duplicates_dropped"
    record.change("UPDATE jobs SET status = 'cancelled' WHERE id = :id", id=job)
    assert record.claim(second) is None
    record.change("UPDATE jobs SET status = 'paused' WHERE id = :id", id=job)
    assert record.claim(third) is None
    assert record.chunk(third.chunk_id).attempts == 0


def test_the_same_child_may_claim_again(record: Record) -> None:
    """The COMMIT of its first claim had an unknown outcome."""
    (sent,) = record.take(record.job(uris(1)))
    first = record.held(sent)
    again = record.held(sent)
    assert again.attempts == 2
    assert record.complete(first, sent) is None
    assert record.complete(again, sent) == []


def test_a_chunk_whose_lease_ran_out_is_claimed_by_another(record: Record) -> None:
    (sent,) = record.take(record.job(uris(1)))
    record.held(sent, ANN)
    assert record.claim(sent, BOB) is None
    record.ago("lease_until", sent.chunk_id)
    assert record.held(sent, BOB).attempts == 2


@pytest.mark.parametrize(
    ("failure", "attempts", "code"),
    [(Failure(Code.MODEL_UNAVAILABLE, "no weights"), 1, "model_unavailable"), (None, 0, None)],
    ids=["counted", "uncounted"],
)
def test_handed_back(
    record: Record, failure: Failure | None, attempts: int, code: str | None
) -> None:
    job = record.job(uris(2))
    (sent,) = record.take(job)
    claimed = record.held(sent)
    assert record.database.write(chunks.hand_back, claimed, ANN, failure)
    row = record.chunk(sent.chunk_id)
    assert (row.status, row.attempts, row.error_code) == ("pending", attempts, code)
    assert (row.worker, row.lease_until, row.queued_at) == (None, None, None)
    assert not record.database.write(chunks.hand_back, claimed, ANN, failure), "no longer ours"
    assert record.complete(claimed, sent) is None
    record.work_off(job)
    assert len(record.rows(job)) == 2


def test_a_finished_chunk_brings_the_next_one(record: Record) -> None:
    job = record.job(*grouped(9, 3))
    (sent,) = record.take(job, 1)
    following = record.complete(record.held(sent), sent)
    assert following is not None
    assert [(chunk.seq, list(chunk.uris)) for chunk in following] == [(1, uris(3, 3))]
    assert record.chunk(following[0].chunk_id).status == "queued"
    assert not record.database.write(jobs.close_if_done, job)


def test_takers_at_once_never_take_a_chunk_twice_nor_too_many(record: Record) -> None:
    job = record.job(*([uri] for uri in uris(60)))
    taken = at_once(*(lambda: record.take(job, 7) for _ in range(6)))
    assert all(len(part) <= 7 for part in taken)
    ids = [chunk.chunk_id for part in taken for chunk in part]
    assert len(ids) == len(set(ids)) <= 42
    queued = record.sql("SELECT count(*) FROM chunks WHERE status = 'queued'")[0][0]
    assert queued == len(ids)


def test_an_inactive_job_is_not_sent(record: Record) -> None:
    job = record.job(uris(1))
    for status in ("submitting", "paused", "cancelled", "failed", "completed"):
        record.change("UPDATE jobs SET status = :s WHERE id = :id", s=status, id=job)
        assert record.take(job) == []


def test_the_last_two_chunks_finished_at_once_close_the_job(record: Record) -> None:
    for _ in range(8):
        job = record.job(uris(1), uris(1, 1))
        one, two = record.take(job)
        ann, bob = record.held(one, ANN), record.held(two, BOB)

        def finish(claimed: Claim, sent: Outgoing, owner: Owner, job: int = job) -> bool:
            assert record.complete(claimed, sent, owner) == []
            return record.database.write(jobs.close_if_done, job)

        closed = at_once(partial(finish, ann, one, ANN), partial(finish, bob, two, BOB))
        assert sorted(closed) == [False, True], "one of the two closes it, and only one"
        assert record.progress(job).status == "completed"


def test_a_lease_is_as_long_as_asked_for(record: Record) -> None:
    (sent,) = record.take(record.job(uris(1)))
    record.held(sent)
    row = record.database.read(lambda c: c.execute(chunks.Chunk.__table__.select()).one())
    assert (row.lease_until - row.started_at).total_seconds() == pytest.approx(LEASE, abs=1)
