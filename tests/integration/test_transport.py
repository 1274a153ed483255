"""The transport: what ends a worker with kombu's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from celery import signals
from kombu import Consumer, Queue

from broker.app import KEY_PREFIX, make_app

if TYPE_CHECKING:
    from core.settings import Settings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_late_acknowledgement_is_a_connection_error(settings: Settings) -> None:
    app = make_app(settings)
    got: list[Any] = []
    with app.connection_for_write() as connection:
        queue = Queue("late")
        connection.Producer().publish({"a": 1}, routing_key="late", declare=[queue])
        with Consumer(connection, [queue], on_message=got.append, accept=["json"]):
            connection.drain_events(timeout=5)
        errors = connection.connection_errors
    for answer in (got[0].ack, got[0].reject, got[0].requeue):
        with pytest.raises(errors):
            answer()
    app.close()


def test_junk_is_dropped_and_told(settings: Settings) -> None:
    app = make_app(settings)
    got: list[Any] = []
    told: list[Any] = []

    def hear(sender: Any, **_: Any) -> None:
        told.append(sender)

    signals.task_rejected.connect(hear)
    try:
        with app.connection_for_write() as connection:
            queue = Queue("junk")
            client = connection.default_channel.client
            for entry in ("no json", "[]", "{}", json.dumps({"properties": {}, "headers": {}})):
                client.execute_command("RPUSH", "junk", entry)
            assert client.execute_command("LLEN", "junk") == 4, KEY_PREFIX
            connection.Producer().publish({"a": 1}, routing_key="junk", declare=[queue])
            with Consumer(connection, [queue], on_message=got.append, accept=["json"]):
                for _ in range(5):
                    connection.drain_events(timeout=5)
    finally:
        signals.task_rejected.disconnect(hear)
    assert len(told) == 4
    assert got[0].decode() == {"a": 1}
    got.clear()
    app.close()


def test_a_server_that_takes_no_writes_is_an_outage_and_no_flaw(settings: Settings) -> None:
    app = make_app(settings)
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        client.config_set("maxmemory", "1")
        with pytest.raises(connection.connection_errors, match=r"takes no writes: .*maxmemory"):
            client.lpush("full", "1")
        with pytest.raises(connection.connection_errors), client.pipeline() as pipe:
            pipe.zrem("full", "1").hdel("fuller", "1").execute()  # as an acknowledgement does
        client.config_set("maxmemory", "512mb")
        assert client.lpush("full", "1") == 1
        with pytest.raises(connection.channel_errors, match="WRONGTYPE"):
            client.hget("full", "1")
    app.close()


def test_a_message_that_cannot_be_acknowledged_is_not_held(settings: Settings) -> None:
    app = make_app(settings)
    got: list[Any] = []
    with app.connection_for_write() as connection:
        queue = Queue("held")
        producer = connection.Producer()
        for number in range(3):
            producer.publish({"a": number}, routing_key="held", declare=[queue])
        with Consumer(connection, [queue], on_message=got.append, accept=["json"]) as consumer:
            consumer.qos(prefetch_count=2)
            for _ in range(2):
                connection.drain_events(timeout=5)
            assert not consumer.channel.qos.can_consume()
            client = consumer.channel.client
            client.config_set("maxmemory", "1")
            for answer in (got[0].ack, got[1].requeue):
                with pytest.raises(connection.connection_errors):
                    answer()
            client.config_set("maxmemory", "512mb")
            assert consumer.channel.qos.can_consume()
            connection.drain_events(timeout=5)
        assert got[2].decode() == {"a": 2}
    app.close()


def test_a_dead_line_to_a_unix_socket_is_closed(settings: Settings) -> None:
    """redis-py reports host and port of a line whose health check failed; this one has none."""
    app = make_app(settings)
    with app.connection_for_write() as connection:
        line = connection.default_channel.client.connection_pool.get_connection()
        line.disconnect(error=OSError("gone"), failure_count=99, health_check_failed=True)
    app.close()


def test_a_channel_that_outlived_its_connection_is_a_connection_error(settings: Settings) -> None:
    app = make_app(settings)
    with app.connection_for_write() as connection:
        channel, errors = connection.channel(), connection.connection_errors
        transport, client = channel.connection, channel.connection.client
        transport.client = None  # as while Celery closes what an outage has left
        try:
            with pytest.raises(errors):
                channel._create_client()
        finally:
            transport.client = client
    app.close()
