"""A job's life in SQL: seen when whole, discarded when abandoned, closed when done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import IntegrityError

from core.types import JobStatus, Priority
from db import chunks, duties, jobs
from tests.support.record import ANN, REQUEST, Record, grouped, uris

if TYPE_CHECKING:
    from db.session import Database


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


def test_workers_do_not_see_a_job_before_it_is_whole(record: Record) -> None:
    job = record.database.write(jobs.create, REQUEST)
    new = jobs.NewChunk(0, 2, 0, '["a","b"]', None, "0" * 32)
    assert record.database.write(jobs.add_chunks, job, [new])
    progress = record.progress(job)
    assert (progress.status, progress.total, progress.pending) == (JobStatus.SUBMITTING, 2, 2)
    assert record.take(job) == []
    assert not record.database.write(jobs.close_if_done, job)
    assert record.database.read(duties.ended_jobs) == []
    assert record.database.read(duties.below_window, REQUEST.queue, 9) == []
    assert record.database.write(jobs.seal, job, 2, 1)
    assert record.progress(job).status == JobStatus.QUEUED
    assert len(record.take(job)) == 1
    assert record.progress(job).elapsed == 0
    record.database.write(chunks.mark_running, job)
    record.database.write(chunks.mark_running, job)
    assert record.progress(job).status == JobStatus.RUNNING


def test_an_abandoned_submission_is_discarded_and_its_late_submitter_told(record: Record) -> None:
    whole = record.job(*grouped(4, 2))
    job = record.database.write(jobs.create, REQUEST)
    new = [jobs.NewChunk(n, 1, n, '["a"]', None, "0" * 32) for n in range(5)]
    record.database.write(jobs.add_chunks, job, new)
    assert record.database.read(jobs.abandoned, 60) == []
    assert record.database.read(jobs.abandoned, -60) == [job]
    assert not record.database.write(jobs.give_up, job, 60)
    assert record.database.write(jobs.give_up, job)
    assert not record.database.write(jobs.discard_slice, job)
    assert record.database.write(jobs.discard_slice, job)
    assert not record.database.write(jobs.add_chunks, job, new)
    assert not record.database.write(jobs.seal, job, 5, 5)
    assert record.sql("SELECT DISTINCT job_id FROM chunks") == [(whole,)]
    assert record.sql("SELECT id FROM jobs") == [(whole,)]


def test_a_submitter_that_wakes_while_it_is_being_discarded_cannot_go_on(record: Record) -> None:
    """Else its job would be sealed, and closed as completed, without the chunks that are gone."""
    job = record.database.write(jobs.create, replace(REQUEST, key="scans"))
    new = [jobs.NewChunk(n, 1, n, '["a"]', None, "0" * 32) for n in range(jobs.SLICE + 1)]
    record.database.write(jobs.add_chunks, job, new)
    assert record.database.write(jobs.give_up, job)
    assert not record.database.write(jobs.discard_slice, job)
    more = [jobs.NewChunk(jobs.SLICE + 1, 1, jobs.SLICE + 1, '["a"]', None, "0" * 32)]
    assert not record.database.write(jobs.add_chunks, job, more)
    assert not record.database.write(jobs.seal, job, jobs.SLICE + 2, jobs.SLICE + 2)
    assert record.database.read(jobs.find_key, "scans") is None, "its key is free at once"
    assert record.database.write(jobs.give_up, job, 60), "whoever died while discarding it"
    while not record.database.write(jobs.discard_slice, job):
        pass
    assert record.sql("SELECT id FROM jobs") == record.sql("SELECT id FROM chunks") == []


def test_a_job_that_is_whole_cannot_be_discarded(record: Record) -> None:
    job = record.job(*grouped(4, 2))
    assert not record.database.write(jobs.give_up, job)
    assert not record.database.write(jobs.give_up, job, -60)
    assert record.progress(job).pending == 4


def test_what_is_written_again_after_an_unknown_commit_is_there_once(record: Record) -> None:
    job = record.database.write(jobs.create, REQUEST)
    new = [jobs.NewChunk(n, 1, n, '["a"]', None, "0" * 32) for n in range(4)]
    for part in (new[:2], new[2:]):
        assert record.database.write(jobs.add_chunks, job, part)
        assert record.database.write(jobs.add_chunks, job, part)
    assert record.sql("SELECT seq FROM chunks ORDER BY seq") == [(0,), (1,), (2,), (3,)]
    assert record.database.write(jobs.seal, job, 4, 4)
    assert record.database.write(jobs.seal, job, 4, 4)


def test_a_number_is_never_given_twice(record: Record) -> None:
    first = record.database.write(jobs.create, REQUEST)
    assert record.database.write(jobs.give_up, first)
    record.database.write(jobs.discard_slice, first)
    assert record.database.write(jobs.create, REQUEST) > first


def test_a_key_is_one_jobs(record: Record) -> None:
    keyed = replace(REQUEST, key="scans 2024")
    job = record.database.write(jobs.create, keyed)
    with pytest.raises(IntegrityError):
        record.database.write(jobs.create, keyed)
    assert record.database.read(jobs.find_key, "scans 2024") == (job, JobStatus.SUBMITTING)
    assert record.database.read(jobs.find_key, "others") is None
    assert record.database.write(jobs.create, REQUEST) != job, "jobs without a key are many"


def test_what_was_asked_for_is_what_workers_read(record: Record) -> None:
    request = replace(
        REQUEST, priority=Priority.LOW, queue="gpu", options={"roots": ["/a b", "/ü"]}
    )
    job = record.job(*grouped(5, 2), request=request)
    terms = record.database.read(chunks.read_terms, job)
    assert terms == chunks.Terms(job, "digits", REQUEST.fingerprint, 3, "gpu", 9, 3, ("/a b", "/ü"))
    assert record.database.read(chunks.read_terms, job + 1) is None


def test_closing(record: Record) -> None:
    good = record.job(*grouped(4, 2))
    bad = record.job(["stub://fail/empty/1", *uris(1)])
    record.work_off(good)
    record.work_off(bad)
    assert record.progress(good).status == JobStatus.COMPLETED
    progress = record.progress(bad)
    assert progress.status == JobStatus.COMPLETED_WITH_ERRORS
    assert progress.finished_at is not None
    assert not record.database.write(jobs.close_if_done, good), "closed already"


def test_active_jobs_come_in_pages(record: Record) -> None:
    ids = [record.job(uris(1)) for _ in range(5)]
    record.work_off(ids[1])
    assert record.database.read(jobs.active_jobs, 0, 2) == [ids[0], ids[2]]
    assert record.database.read(jobs.active_jobs, ids[2], 2) == [ids[3], ids[4]]
    assert record.database.read(jobs.active_jobs, ids[4], 2) == []


def test_a_sweep_finds_the_jobs_that_want_it(record: Record) -> None:
    """Thousands of jobs may be active: it must not open a transaction for each."""
    busy, idle, whole, elsewhere = (
        record.job(*grouped(4, 1), request=replace(REQUEST, queue=queue))
        for queue in ("a", "a", "a", "b")
    )
    for job, chunks_sent in ((busy, 2), (whole, 4)):
        for sent in record.take(job, chunks_sent):
            record.held(sent, ANN)
    read = record.database.read
    assert read(duties.active_queues) == ["a", "b"]
    assert read(duties.below_window, "a", 4) == [idle, busy], (
        "the emptiest first; not the whole one"
    )
    assert read(duties.below_window, "a", 2) == [idle]
    assert read(duties.below_window, "b", 1) == [elsewhere]
    record.change("UPDATE jobs SET status = 'paused' WHERE id = :id", id=idle)
    assert read(duties.below_window, "a", 4) == [busy]
    assert read(duties.ended_jobs) == []
    record.change("UPDATE chunks SET status = 'done' WHERE job_id = :id", id=whole)
    assert read(duties.ended_jobs) == [whole]
