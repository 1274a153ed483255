"""Watching: until the job has ended, from SQL only, sweeping meanwhile, and saying what is in the way."""

from __future__ import annotations

from threading import Timer
from typing import TYPE_CHECKING

import pytest

from core.errors import NoSuchJobError
from core.settings import Settings
from core.types import JobStatus
from producer import watch as watching
from producer.glance import obstacle
from producer.submit import Desk
from producer.watch import watch
from tests.support.broker import connect
from tests.support.record import ANN, Record, grouped, uris
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    with Yard(settings.model_copy(update={"sweep_interval": 0.2})) as yard:
        yield yard.desk


def test_it_ends_with_the_job(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(*grouped(6, 2))
    worker = Timer(0.3, record.work_off, [job])
    worker.start()
    seen = [glance.progress for glance in watch(desk, job, sweeping=False)]
    worker.join()
    assert seen[0].pending == 6
    assert (seen[-1].status, seen[-1].ok) == (JobStatus.COMPLETED, 6)
    assert all(p.total == p.ok + p.failed + p.cancelled + p.pending == 6 for p in seen)


def test_it_ends_with_a_pause(desk: Desk) -> None:
    job = Record(desk.database).job(uris(1))
    Record(desk.database).change("UPDATE jobs SET status = 'paused'")
    assert [glance.progress.status for glance in watch(desk, job)] == [JobStatus.PAUSED]


def test_it_sweeps_when_nobody_else_does(desk: Desk) -> None:
    """A message was lost and no worker lives: the desk sends it again all the same."""
    record = Record(desk.database)
    job = record.job(uris(1))
    (sent,) = record.take(job)
    record.ago("queued_at", sent.chunk_id)
    with connect(desk.settings.broker_url) as client:
        for number, _ in enumerate(watch(desk, job)):
            if client.llen("classyard:classyard:5"):
                break
            assert number < 100, "it did not sweep"


def test_it_says_what_is_in_the_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.1)
    record = Record(desk.database)
    job = record.job(uris(1))
    said = next(glance.obstacle for glance in watch(desk, job) if glance.obstacle)
    assert said == (
        "no worker serves queue 'classyard': start one with 'classyard worker --queue classyard'"
    )
    record.arrive(ANN)
    progress = record.progress(job)
    assert obstacle(desk.database, desk.settings, progress) == ""
    record.change("UPDATE chunks SET error = 'no weights', status = 'pending'")
    assert obstacle(desk.database, desk.settings, progress) == "no weights"


def test_no_such_job(desk: Desk) -> None:
    with pytest.raises(NoSuchJobError):
        next(watch(desk, 7))
