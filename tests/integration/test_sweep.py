"""The sweep against a real Redis: what was lost is sent again, what only waits is left alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from kombu.entity import Queue
from sqlalchemy import select

from broker.app import make_app
from broker.sweep import sweep
from core.errors import BrokerError, Code
from core.settings import Settings, read_settings
from core.types import Failure
from db import chunks, jobs, workers
from db.models import Chunk
from producer.submit import Desk
from tests.support.broker import connect
from tests.support.record import ANN, BOB, REQUEST, Record, grouped, uris
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery
    from redis import Redis

    from db.session import Database


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    with Yard(settings.model_copy(update={"window": 4})) as yard:
        yield yard.desk


LIST = "classyard:classyard:5"


def redis_of(desk: Desk) -> Redis:
    return connect(desk.settings.broker_url)


def waiting(desk: Desk) -> int:
    with redis_of(desk) as client:
        return client.llen(LIST)


def flush(desk: Desk) -> None:
    with redis_of(desk) as client:
        client.flushall()


def swept(desk: Desk) -> tuple[int, int, int]:
    done = sweep(desk.app, desk.database, desk.settings)
    return done.dead, done.lost, done.sent


def age(record: Record) -> None:
    for (chunk,) in record.sql("SELECT id FROM chunks WHERE status = 'queued'"):
        record.ago("queued_at", chunk)


def test_a_flushed_redis_loses_nothing(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(*grouped(12, 2))
    assert desk.dispatcher.top_up(job) == 4
    assert swept(desk) == (0, 0, 0)
    flush(desk)
    assert swept(desk) == (0, 0, 0), "sent a moment ago: it may still be on its way"
    age(record)
    assert swept(desk) == (0, 4, 4)
    assert waiting(desk) == 4
    assert record.database.read(workers.counters) == {"chunks_swept": 4}
    assert swept(desk) == (0, 0, 0)


def test_a_queue_that_waits_for_hours_is_not_a_loss(desk: Desk) -> None:
    """The messages' own times say that they wait; nothing is sent twice."""
    record = Record(desk.database)
    job = record.job(*grouped(8, 2))
    taken = record.take(job, 3)
    age(record)
    moments = desk.database.read(
        lambda c: c.execute(select(Chunk.id, Chunk.queued_at).where(Chunk.status == "queued")).all()
    )
    queued_at = {row.id: row.queued_at for row in moments}
    old = [replace(chunk, queued_at=queued_at[chunk.chunk_id]) for chunk in taken]
    desk.dispatcher.send(old)
    assert swept(desk) == (0, 0, 1), "only the window is filled up"
    assert waiting(desk) == 4


def test_a_message_in_a_workers_hands_is_not_lost(desk: Desk) -> None:
    """Prefetched, not yet claimed: it is in none of the lists, but among the unacknowledged."""
    record = Record(desk.database)
    job = record.job(uris(1))
    desk.dispatcher.top_up(job)
    with desk.app.connection_for_read() as connection:
        message = Queue("classyard")(connection.default_channel).get(no_ack=False)
        assert message is not None
        age(record)
        assert swept(desk) == (0, 0, 0)
        message.ack()
        assert swept(desk) == (0, 1, 1), "acknowledged and neither claimed nor done: lost"


def test_a_message_that_a_worker_from_the_future_took_is_not_held_until_then(desk: Desk) -> None:
    """It died before it claimed the chunk; its clock was a day ahead."""
    record = Record(desk.database)
    job = record.job(uris(1))
    desk.dispatcher.top_up(job)
    with desk.app.connection_for_read() as connection:
        message = Queue("classyard")(connection.default_channel).get(no_ack=False)
        assert message is not None
        with redis_of(desk) as client:
            index = "classyard:unacked_index"
            assert client.zincrby(index, 86_400, client.zrange(index, 0, 0)[0])
        age(record)
        assert swept(desk) == (0, 1, 1)


def test_the_chunks_of_the_dead_are_sent_again(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(*grouped(6, 2))
    desk.dispatcher.top_up(job)
    one, two, _ = record.sql("SELECT id, digest FROM chunks ORDER BY id")
    record.arrive(ANN)
    for row, owner in ((one, ANN), (two, BOB)):
        assert desk.database.write(chunks.claim, job, row.id, row.digest, owner, 600)
    flush(desk)
    assert swept(desk) == (1, 0, 1), "BOB was never seen: dead"
    assert record.chunk(one.id).status == "running"
    assert record.chunk(two.id).status == "queued"


def test_silence_is_no_death_for_who_was_silent_too(desk: Desk) -> None:
    record = Record(desk.database)
    (sent,) = record.take(record.job(uris(1)))
    record.held(sent, BOB)  # who was never seen
    assert sweep(desk.app, desk.database, desk.settings, spare_silent=True).dead == 0
    assert record.chunk(sent.chunk_id).status == "running"
    assert swept(desk)[0] == 1


def test_a_job_whose_last_worker_died_before_closing_it_is_closed(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(uris(2))
    (sent,) = record.take(job)
    record.complete(record.held(sent), sent)
    assert sweep(desk.app, desk.database, desk.settings).closed == 1
    assert record.progress(job).status == "completed"


def test_a_chunk_that_cannot_be_helped_is_given_up(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(uris(2))
    (sent,) = record.take(job)
    for _ in range(desk.settings.max_attempts):
        failure = Failure(Code.MODEL_UNAVAILABLE, "no weights")
        desk.database.write(chunks.hand_back, record.held(sent), ANN, failure)
    done = sweep(desk.app, desk.database, desk.settings)
    assert (done.resolved, done.closed, done.sent) == (1, 1, 0)
    assert record.progress(job).failed == 2


def test_an_abandoned_submission_goes(desk: Desk) -> None:
    record = Record(desk.database)
    job = desk.database.write(jobs.create, REQUEST)
    assert sweep(desk.app, desk.database, desk.settings).discarded == 0
    long_ago = (
        "strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 hour') || '000'"
        if desk.database.dialect == "sqlite"
        else "clock_timestamp() - interval '1 hour'"
    )
    record.change(f"UPDATE jobs SET touched_at = {long_ago} WHERE id = :id", id=job)
    assert sweep(desk.app, desk.database, desk.settings).discarded == 1
    assert record.sql("SELECT id FROM jobs") == []


def test_sweepers_at_once_send_everything_once(desk: Desk) -> None:
    record = Record(desk.database)
    job = record.job(*grouped(30, 1))
    for sent in record.take(job, 10):
        record.held(sent, ANN)
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: swept(desk), range(4)))
    assert sum(dead for dead, _, _ in done) == 10
    assert sum(sent for _, _, sent in done) == waiting(desk) == 4


def test_junk_in_the_list_stops_no_sweep(desk: Desk) -> None:
    record = Record(desk.database)
    desk.dispatcher.top_up(record.job(uris(1)))
    age(record)
    with redis_of(desk) as client:
        for junk in (b"\xff\xfe", b"[]", b'{"headers": 7}', b'{"headers": {"queued_at": "x"}}'):
            client.rpush(LIST, junk)
            assert swept(desk) == (0, 0, 0), "what waits behind it is unknown"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_redis_sql_is_mended_all_the_same(database: Database, home: object) -> None:
    settings = read_settings(home=home, broker_url=f"redis+socket://{home}/nobody.sock")
    record = Record(database)
    job = record.job(uris(1))
    (sent,) = record.take(job)
    record.held(sent)
    app: Celery = make_app(settings, patient=False)
    with pytest.raises(BrokerError):
        sweep(app, database, settings)
    assert record.chunk(sent.chunk_id).status == "pending"
    app.close()
