"""What the sweep does in SQL: chunks of the dead come back, poison is isolated, nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from core.errors import Code
from core.types import Failure, Priority, digest, encode_uris
from db import chunks, duties, jobs, recovery, steering, workers
from db.recovery import Backlog
from tests.support.record import ANN, BOB, Record, grouped, uris, with_priority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from db.chunks import Outgoing
    from db.session import Database

MOST = 5
NORMAL = Backlog("classyard", int(Priority.NORMAL))
CRASH = Failure(Code.WORKER_CRASH, "segmentation fault")


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


def crash(record: Record, sent: Outgoing, times: int) -> None:
    """Let a chunk's worker die with it some times, as a sweep sees it."""
    for _ in range(times):
        record.arrive(ANN)
        assert record.claim(sent, ANN) is not None
        record.die(ANN)
        assert record.database.write(recovery.release_dead, 35)
        assert record.chunk(sent.chunk_id).status == "pending"


def pending(record: Record, job: int) -> Sequence[Any]:
    statement = "SELECT * FROM chunks WHERE job_id = :id AND status = 'pending' ORDER BY id"
    return record.sql(statement, id=job)


def test_the_chunks_of_a_dead_worker_come_back_and_only_those(record: Record) -> None:
    job = record.job(*grouped(4, 1))
    dead, alive, expired, queued = record.take(job)
    record.arrive(ANN)
    record.arrive(BOB)
    record.held(dead, ANN)
    record.held(alive, BOB)
    record.held(expired, BOB)
    assert record.database.write(recovery.release_dead, 35) == 0
    record.die(ANN)
    record.ago("lease_until", expired.chunk_id)
    assert record.database.write(recovery.release_dead, 35) == 2
    status = {c.chunk_id: record.chunk(c.chunk_id).status for c in (dead, alive, expired, queued)}
    assert list(status.values()) == ["pending", "running", "pending", "queued"]
    row = record.chunk(dead.chunk_id)
    assert (row.attempts, row.error_code, row.worker) == (1, "worker_crash", None)
    assert row.error == "ann: its worker died or its lease ran out"
    assert record.progress(job).pending == 4


def test_a_worker_that_was_never_seen_is_dead(record: Record) -> None:
    (sent,) = record.take(record.job(uris(1)))
    record.held(sent, ANN)
    assert record.database.write(recovery.release_dead, 35) == 1


def test_sweepers_at_once_free_a_chunk_once(record: Record) -> None:
    for sent in record.take(record.job(*grouped(20, 1))):
        record.held(sent, ANN)
    with ThreadPoolExecutor(4) as threads:
        freed = threads.map(lambda _: record.database.write(recovery.release_dead, 35), range(4))
    assert sum(freed) == 20


def test_the_chunks_of_a_dead_child_come_back(record: Record) -> None:
    one, two = record.take(record.job(*grouped(2, 1)))
    twin = chunks.Owner("ann", 99)
    record.held(one, ANN)
    record.held(two, twin)
    assert sorted(record.database.read(recovery.holding_children, "ann")) == [1, 99]
    assert record.database.write(recovery.release_children, "ann", [99]) == 1
    assert record.database.write(recovery.release_children, "bob", [1]) == 0
    assert record.chunk(one.chunk_id).status == "running"
    assert record.chunk(two.chunk_id).status == "pending"


def test_a_long_queue_is_not_taken_for_a_loss(record: Record) -> None:
    """Everything queued for an hour, the oldest message still waits: all is well."""
    sent = record.take(record.job(*grouped(50, 1)))
    for chunk in sent:
        record.ago("queued_at", chunk.chunk_id, 3600 - chunk.seq)
    oldest = datetime.now(UTC) - timedelta(seconds=3601)
    assert record.database.write(recovery.release_lost, NORMAL, oldest, (), 60) == 0


def test_what_is_older_than_the_oldest_message_is_lost(record: Record) -> None:
    job = record.job(*grouped(5, 1))
    lost, held, waiting, fresh, _ = record.take(job)
    for chunk, seconds in ((lost, 900), (held, 800), (waiting, 600)):
        record.ago("queued_at", chunk.chunk_id, seconds)
    oldest = datetime.now(UTC) - timedelta(seconds=700)
    release = record.database.write
    assert release(recovery.release_lost, NORMAL, oldest, {held.chunk_id}, 60) == 1
    assert record.chunk(lost.chunk_id).status == "pending"
    assert (record.chunk(lost.chunk_id).attempts, record.chunk(lost.chunk_id).error) == (0, None)
    # Redis is empty: all that nobody holds is lost, but what was sent a moment ago may be on its way.
    assert release(recovery.release_lost, NORMAL, None, {held.chunk_id}, 60) == 1
    assert record.chunk(waiting.chunk_id).status == "pending"
    assert record.chunk(fresh.chunk_id).status == "queued"
    assert [chunk.chunk_id for chunk in record.take(job)] == [lost.chunk_id, waiting.chunk_id]


def test_a_backlog_speaks_for_itself_only(record: Record) -> None:
    requests = [with_priority(level) for level in Priority]
    requests.append(with_priority(Priority.NORMAL, "gpu"))
    sent = [record.take(record.job(uris(1), request=request))[0] for request in requests]
    for chunk in sent:
        record.ago("queued_at", chunk.chunk_id)
    found = record.database.read(recovery.backlogs)
    assert {(b.queue, b.priority) for b in found} == {
        ("classyard", 0), ("classyard", 5), ("classyard", 9), ("gpu", 5),
    }  # fmt: skip
    assert record.database.write(recovery.release_lost, Backlog("gpu", 5), None, (), 60) == 1
    left = [record.chunk(chunk.chunk_id).status for chunk in sent]
    assert left == ["queued", "queued", "queued", "pending"]


@pytest.mark.parametrize("size", [2, 7, 8, 9, 100])
def test_a_split_keeps_every_position_once(record: Record, size: int) -> None:
    every = uris(size)
    job = record.job(every, extra=True)
    (sent,) = record.take(job)
    crash(record, sent, 3)
    assert record.database.read(recovery.troubled, MOST) == [sent.chunk_id]
    assert record.database.write(recovery.resolve, sent.chunk_id, MOST)
    assert not record.database.write(recovery.resolve, sent.chunk_id, MOST), "it is gone"
    parts = record.database.read(
        lambda c: c.execute(chunks.Chunk.__table__.select().order_by(chunks.Chunk.id)).all()
    )
    assert 1 < len(parts) <= recovery.PARTS
    assert sum(part.size for part in parts) == size
    assert [uri for part in parts for uri in part.uris] == every
    for part in parts:
        first = part.first_position
        assert part.uris == every[first : first + part.size]
        assert part.extra == [{"n": n} for n in range(first, first + part.size)]
        assert part.digest == digest(encode_uris(part.uris))
    record.work_off(job)
    assert [row.uri for row in record.rows(job)] == every
    assert record.progress(job).ok == size


def test_a_split_keeps_scattered_positions(record: Record) -> None:
    every = uris(10)
    job = record.job(every, extra=True)
    record.change(
        "UPDATE chunks SET positions = '[3,1,4,15,9,2,6,5,35,8]' WHERE job_id = :id", id=job
    )
    (sent,) = record.take(job)
    crash(record, sent, 3)
    record.database.write(recovery.resolve, sent.chunk_id, MOST)
    record.work_off(job)
    found = {row.position: row.uri for row in record.rows(job)}
    assert found == dict(zip([3, 1, 4, 15, 9, 2, 6, 5, 35, 8], every, strict=True))


def test_the_picture_that_kills_is_found_and_its_neighbours_live(record: Record) -> None:
    """Worked as a fleet would: whoever holds the poison dies, everything else is answered."""
    poison = "file:///pictures/41.jpg"
    job = record.job(*grouped(64, 64))
    crashes = 0
    while waiting := record.take(job):
        for sent in waiting:
            if poison in sent.uris:
                crash(record, sent, 1)
                crashes += 1
            else:
                waiting += record.complete(record.held(sent), sent) or []
        for chunk_id in record.database.read(recovery.troubled, MOST):
            assert record.database.write(recovery.resolve, chunk_id, MOST)
        assert crashes < 12
    rows = record.rows(job)
    assert [row.position for row in rows] == list(range(64))
    assert [row.uri for row in rows if row.status == "failed"] == [poison]
    assert rows[41].error_code == "worker_crash"
    assert record.database.write(jobs.close_if_done, job)
    # Three whole, one in a part of eight, two alone; one that finishes may take it before the sweep.
    assert 6 <= crashes <= 8


def test_a_condemned_chunk_gives_one_row_per_position(record: Record) -> None:
    job = record.job(uris(3), uris(2, 3), extra=True)
    first, second = record.take(job)
    for _ in range(MOST):
        claimed = record.held(first)
        failure = Failure(Code.MODEL_UNAVAILABLE, "no weights")
        assert record.database.write(chunks.hand_back, claimed, ANN, failure)
    assert record.database.read(recovery.troubled, MOST) == [first.chunk_id]
    with ThreadPoolExecutor(3) as threads:
        done = threads.map(
            lambda _: record.database.write(recovery.resolve, first.chunk_id, MOST), range(3)
        )
    assert sorted(done) == [False, False, True]
    rows = record.rows(job)
    assert [(row.position, row.uri, row.error_code) for row in rows] == [
        (n, uri, "model_unavailable") for n, uri in enumerate(uris(3))
    ]
    assert rows[0].error == "after 5 attempts: no weights"
    assert record.complete(record.held(second), second) == []
    assert record.database.write(jobs.close_if_done, job)
    progress = record.progress(job)
    assert (progress.ok, progress.failed, progress.status) == (2, 3, "completed_with_errors")


def test_a_chunk_that_failed_otherwise_is_not_split(record: Record) -> None:
    job = record.job(uris(4))
    (sent,) = record.take(job)
    for _ in range(3):
        record.database.write(
            chunks.hand_back, record.held(sent), ANN, Failure(Code.INTERNAL, "why")
        )
    assert record.database.read(recovery.troubled, MOST) == []
    assert not record.database.write(recovery.resolve, sent.chunk_id, MOST)
    assert len(pending(record, job)) == 1


def test_a_claimed_chunk_is_not_resolved(record: Record) -> None:
    (sent,) = record.take(record.job(uris(4)))
    crash(record, sent, 3)
    record.held(sent, BOB)
    assert not record.database.write(recovery.resolve, sent.chunk_id, MOST)
    assert record.complete(record.held(sent, BOB), sent, BOB) == []


def test_what_was_left_of_a_cancelled_job_is_cancelled(record: Record) -> None:
    job = record.job(*grouped(6, 2))
    sent = record.take(job, 2)
    claimed = record.held(sent[0])
    record.change("UPDATE jobs SET status = 'cancelled' WHERE id = :id", id=job)
    assert record.database.read(duties.stopped_jobs) == [job]
    assert record.database.write(steering.end_unsent, job) == 2
    assert record.database.read(duties.stopped_jobs) == []
    # What runs may finish: its rows are good.
    assert record.complete(claimed, sent[0]) == []
    progress = record.progress(job)
    assert (progress.ok, progress.cancelled, progress.pending) == (2, 4, 0)


def test_signs_of_life(record: Record) -> None:
    record.arrive(ANN, slots=2)
    record.arrive(BOB, slots=3, queue="gpu")
    assert record.database.read(workers.live_slots, 35, "classyard") == 2
    assert [w.info.id for w in record.database.read(workers.live_workers, 35)] == ["ann", "bob"]
    assert [w.info.id for w in record.database.read(workers.live_workers, 35, "gpu")] == ["bob"]
    assert record.database.read(workers.live_workers, 35, host="elsewhere") == []
    record.die(BOB)
    assert record.database.read(workers.live_slots, 35, "gpu") == 0
    record.arrive(BOB, slots=4, queue="gpu")
    assert record.database.read(workers.live_slots, 35, "gpu") == 4
    record.database.write(workers.leave, "ann")
    assert record.sql("SELECT id FROM workers") == [("bob",)]
    record.die(BOB)
    record.database.write(workers.forget_dead)
    assert record.sql("SELECT id FROM workers") == [("bob",)], "an hour is not a week"


def test_counters_count_whoever_counts(record: Record) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(
            lambda _: record.database.write(workers.count, "duplicates_dropped"), range(20)
        ):
            pass
    record.database.write(workers.count, "chunks_swept", 7)
    assert record.database.read(workers.counters) == {"duplicates_dropped": 20, "chunks_swept": 7}
