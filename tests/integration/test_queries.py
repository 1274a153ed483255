"""Reads: the accounting identity, filters, pages, and what the speed of a job was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.errors import NoSuchJobError
from core.types import ResultStatus
from db import queries, results
from db.results import ResultFilter
from tests.support.record import Record, grouped, uris

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.session import Database


@pytest.fixture
def record(database: Database) -> Record:
    return Record(database)


def positions(record: Record, job: int, chosen: ResultFilter) -> Sequence[int]:
    return [row.position for row in results.stream_results(record.database, job, chosen)]


def test_the_accounting_holds_at_every_step(record: Record) -> None:
    job = record.job(["stub://fail/empty/0", *uris(2)], uris(3, 2), uris(1, 5), uris(2, 6))
    seen = [record.progress(job)]
    first, second, third, _ = record.take(job)
    for sent in (first, second):
        record.complete(record.held(sent), sent)
        seen.append(record.progress(job))
    record.held(third)
    seen.append(record.progress(job))
    record.change("UPDATE chunks SET status = 'cancelled' WHERE seq = 3")
    seen.append(record.progress(job))
    told = [(p.ok, p.failed, p.cancelled, p.pending, p.running) for p in seen]
    assert told == [
        (0, 0, 0, 9, 0),
        (2, 1, 0, 6, 0),
        (5, 1, 0, 3, 0),
        (5, 1, 0, 3, 1),
        (5, 1, 2, 1, 1),
    ]
    assert (seen[-1].total, seen[-1].chunks, seen[-1].chunks_done) == (9, 4, 2)
    assert (seen[-1].done, seen[-1].attempts) == (6, 3)


def test_no_such_job(record: Record) -> None:
    with pytest.raises(NoSuchJobError, match="no job 7: 'classyard jobs' lists them"):
        record.database.read(queries.progress, 7)


def test_results_filtered(record: Record) -> None:
    job = record.job(
        [*uris(20), "stub://fail/empty/1", "stub://fail/http_4xx/2"], ["stub://fail/empty/3"]
    )
    record.job(uris(1))
    record.work_off(job)
    rows = record.rows(job)
    label = rows[0].label
    of_label = [row.position for row in rows if row.label == label]
    assert positions(record, job, ResultFilter()) == list(range(23))
    assert positions(record, job, ResultFilter(label=label)) == of_label
    assert positions(record, job, ResultFilter(label=label, limit=1)) == of_label[:1]
    assert positions(record, job, ResultFilter(status=ResultStatus.FAILED)) == [20, 21, 22]
    assert positions(record, job, ResultFilter(code="empty")) == [20, 22]
    assert positions(record, job, ResultFilter(min_score=0.5, limit=3)) == [0, 1, 2]
    assert positions(record, job, ResultFilter(min_score=0.51)) == []
    assert record.database.read(results.failures_by_code, job) == [("empty", 2), ("http_4xx", 1)]


@pytest.mark.parametrize("limit", [None, 3, 6, 7, 8, 100])
def test_results_stream_in_pages(
    record: Record, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "page_size", lambda *_: 3)
    job = record.job(*grouped(12, 5))
    record.work_off(job)
    expected = list(range(12))[:limit]
    assert positions(record, job, ResultFilter(limit=limit)) == expected


def test_the_speed_of_a_model_is_learnt_from_finished_chunks(record: Record) -> None:
    speed = record.database.read(queries.image_seconds, "digits", "f" * 32)
    assert speed is None
    job = record.job(*grouped(20, 10))
    for sent in record.take(job):
        claimed = record.held(sent)
        record.ago("started_at", sent.chunk_id, 5)
        record.complete(claimed, sent)
    speed = record.database.read(queries.image_seconds, "digits", "f" * 32)
    assert speed == pytest.approx(0.5, rel=0.1)
    assert record.database.read(queries.image_seconds, "digits", "0" * 32) is None


def test_why_a_job_waits(record: Record) -> None:
    job = record.job(uris(1), uris(1, 1))
    assert record.database.read(queries.last_error, job) is None
    assert record.database.read(queries.queue_of, job) == "classyard"
    assert record.database.read(queries.top_k, job) == 3
    record.change("UPDATE chunks SET error = 'no weights' WHERE seq = 1")
    assert record.database.read(queries.last_error, job) == "no weights"


def test_standstill(record: Record) -> None:
    assert record.database.read(queries.standstill) == (0, None)
    for sent in record.take(record.job(uris(1), uris(1, 1))):
        record.ago("queued_at", sent.chunk_id, 1000)
    waiting, idle = record.database.read(queries.standstill)
    assert waiting == 2
    assert idle == pytest.approx(1000, abs=5)
