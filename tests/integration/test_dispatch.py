"""What is sent: no more than the window, after the commit, and nothing secret in sight."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from kombu.entity import Queue

from broker.app import list_key, make_app
from broker.dispatch import LEAST, Dispatcher
from core.errors import BrokerError
from core.settings import Settings, read_settings
from core.types import Priority
from db import workers
from tests.support.broker import connect
from tests.support.record import ANN, Record, grouped, uris, with_priority
from tests.support.yard import Yard
from worker.message import read_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kombu.message import Message

    from db.session import Database


@pytest.fixture
def desk(settings: Settings) -> Iterator[Dispatcher]:
    with Yard(settings) as yard:
        yield yard.desk.dispatcher


def messages(desk: Dispatcher, queue: str = "classyard") -> list[Message]:
    """Take all messages out of Redis, as a worker would get them."""
    found = []
    with desk.app.connection_for_read() as connection:
        bound = Queue(queue)(connection.default_channel)
        while (message := bound.get(no_ack=True)) is not None:
            found.append(message)
    return found


def with_window(desk: Dispatcher, window: int) -> Dispatcher:
    settings = desk.settings.model_copy(update={"window": window})
    return Dispatcher(desk.app, desk.database, settings)


def test_a_message_is_what_a_worker_accepts_and_shows_no_uri(desk: Dispatcher) -> None:
    record = Record(desk.database)
    secret = ["https://bucket.example/a.jpg?signature=SECRET", "file:///ü.jpg"]
    job = record.job(secret, uris(1))
    assert desk.top_up(job) == 2
    first, _ = messages(desk)
    _, fields, _ = first.decode()
    accepted = read_message(fields)
    assert (accepted.job_id, accepted.uris) == (job, secret)
    assert record.chunk(accepted.chunk_id).digest == accepted.digest
    assert first.headers["task"] == "classyard.classify"
    assert first.headers["argsrepr"] == f"job {job} chunk 1/2, 2 images, digits"
    assert first.headers["chunk_id"] == accepted.chunk_id
    shown = {key: value for key, value in first.headers.items() if key != "compression"}
    assert "SECRET" not in str(shown)
    assert "example" not in str(shown)
    assert first.headers["compression"] == "application/zstd"


def test_never_more_than_the_window(desk: Dispatcher) -> None:
    record = Record(desk.database)
    job = record.job(*grouped(20, 2))
    narrow = with_window(desk, 3)
    assert [narrow.top_up(job) for _ in range(2)] == [3, 0]
    sent = [message.decode()[1] for message in messages(desk)]
    assert [fields["uris"] for fields in sent] == grouped(6, 2)
    counted = "SELECT status, count(*) FROM chunks GROUP BY status ORDER BY status"
    assert record.sql(counted) == [("pending", 7), ("queued", 3)]


def test_the_window_grows_with_the_workers(desk: Dispatcher) -> None:
    record = Record(desk.database)
    window = desk.database.read(desk.window, "classyard")
    assert window == LEAST
    record.arrive(ANN, slots=4)
    assert desk.database.read(desk.window, "classyard") == 8
    assert desk.database.read(desk.window, "gpu") == LEAST
    desk.database.write(workers.leave, "ann")
    assert desk.database.read(desk.window, "classyard") == LEAST


def test_many_fill_a_window_at_once(desk: Dispatcher) -> None:
    """Every worker sweeps: together they must not flood Redis with one job."""
    record = Record(desk.database)
    narrow = with_window(desk, 4)
    for _ in range(3):
        job = record.job(*([uri] for uri in uris(60)))
        with ThreadPoolExecutor(6) as threads:
            sent = sum(threads.map(narrow.top_up, [job] * 6))
        assert sent == 4


def test_each_priority_has_its_list_and_each_queue_its_own(
    desk: Dispatcher,
) -> None:
    record = Record(desk.database)
    for level in Priority:
        desk.top_up(record.job(uris(1), request=with_priority(level)))
    desk.top_up(record.job(uris(1), request=with_priority(Priority.NORMAL, "gpu")))
    with connect(desk.settings.broker_url) as client:
        lists = {key.decode() for key in client.scan_iter() if client.type(key) == b"list"}
    wanted = {f"classyard:{list_key('classyard', int(level))}" for level in Priority}
    assert lists == wanted | {f"classyard:{list_key('gpu', 5)}"}
    served = [message.decode()[1]["job_id"] for message in messages(desk)]
    assert served == sorted(served), "high before normal before low"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_redis_did_not_take_is_pending_again(database: Database, home: Any) -> None:
    settings = read_settings(home=home, broker_url=f"redis+socket://{home}/nobody.sock")
    app = make_app(settings, patient=False)
    record = Record(database)
    job = record.job(*grouped(4, 2))
    with pytest.raises(BrokerError, match="did not take") as caught:
        Dispatcher(app, database, settings).top_up(job)
    assert "\n" not in str(caught.value)
    assert record.sql("SELECT DISTINCT status FROM chunks") == [("pending",)]
    app.close()


def test_an_unknown_or_inactive_job_is_not_sent(desk: Dispatcher) -> None:
    record = Record(desk.database)
    job = record.job(uris(1))
    record.work_off(job)
    assert (desk.top_up(job), desk.top_up(job + 1)) == (0, 0)
    assert messages(desk) == []
