"""The settings of docs/reliability.md, read back from what really runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from broker.app import broker_url, make_app
from core.errors import SettingsError
from core.settings import Settings, read_settings
from db.session import Database, open_database

if TYPE_CHECKING:
    from celery import Celery

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

CELERY: dict[str, Any] = {
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "task_ignore_result": True,
    "result_backend": None,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "task_protocol": 2,
    "task_compression": "zstd",
    "task_default_queue": "classyard",
    "task_create_missing_queues": False,
    "task_default_priority": 5,
    "worker_pool": "prefork",
    "task_soft_time_limit": 900,
    "task_time_limit": 960,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 4,
    "worker_send_task_events": True,
    "task_send_sent_event": False,
    "worker_enable_remote_control": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
}
TRANSPORT: dict[str, Any] = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 1000,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
    "global_keyprefix": "classyard:",
    "priority_steps": [0, 5, 9],
}


@pytest.fixture
def app(home: Path) -> Celery:
    return make_app(read_settings(home=home))


@pytest.mark.parametrize("name", CELERY)
def test_celery_setting(app: Celery, name: str) -> None:
    assert app.conf[name] == CELERY[name]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_transport_options_reach_the_connection(settings: Settings) -> None:
    app = make_app(settings)
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        assert type(connection.transport).__module__ == "broker.transport"
        for name, value in TRANSPORT.items():
            assert connection.transport_options[name] == value, name
        assert channel.visibility_timeout == 3600
        assert channel.priority_steps == [0, 5, 9]
        pool = channel.client.connection_pool.connection_kwargs
        assert pool["socket_timeout"] == 10
        assert pool["health_check_interval"] == 15
    app.close()


def test_a_person_at_a_prompt_waits_less(home: Path) -> None:
    conf = make_app(read_settings(home=home), patient=False).conf
    assert conf.broker_transport_options["socket_timeout"] == 4
    assert conf.task_publish_retry_policy["max_retries"] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_batch_publish_of_kombu_stays_allowed(settings: Settings) -> None:
    app = make_app(settings)
    with app.connection_for_write() as connection:
        assert connection.transport.supports_batch_publish
    app.close()


def test_sql_settings(database: Database) -> None:
    ask = (
        {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 30_000, "foreign_keys": 1}
        if database.dialect == "sqlite"
        else {
            "statement_timeout": "30s", "lock_timeout": "5s",
            "idle_in_transaction_session_timeout": "1min", "TimeZone": "UTC",
            "transaction_isolation": "read committed", "application_name": "classyard",
        }
    )  # fmt: skip
    verb = "PRAGMA" if database.dialect == "sqlite" else "SHOW"
    for name, value in ask.items():
        assert database.read(lambda c, n=name: c.execute(text(f"{verb} {n}")).scalar()) == value


def test_a_process_that_forks_does_not_share_its_connection(database_url: str) -> None:
    opened = open_database(database_url, forks=True)

    def session() -> str:
        """Say which connection answers: a new one each time has a new number."""
        ask = "pg_backend_pid()" if opened.dialect == "postgresql" else "1"
        return str(opened.read(lambda c: c.execute(text(f"SELECT {ask}")).scalar_one()))

    before = session()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, session().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        other = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    assert session() == before, "not a new connection for each transaction"
    assert (other == before) == (opened.dialect == "sqlite")
    opened.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fetch_timeout": 200}, "FETCH_TIMEOUT"),
        ({"stall_timeout": 900}, "STALL_TIMEOUT must be shorter than SOFT_LIMIT"),
        ({"soft_limit": 960}, "SOFT_LIMIT must be shorter than HARD_LIMIT"),
        ({"hard_limit": 1020}, "HARD_LIMIT must be shorter than LEASE"),
        ({"lease": 3600}, "LEASE must be shorter than VISIBILITY_TIMEOUT"),
        ({"heartbeat": 17.5}, "HEARTBEAT must be less than half of DEAD_AFTER"),
        ({"grace": 25}, "GRACE plus HEARTBEAT must be less than DEAD_AFTER"),
        ({"broker_url": "redis://redis.example.org/0"}, "without a password"),
    ],
)
def test_settings_that_break_the_order_of_time_are_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        read_settings(**changes)


def test_every_setting_is_explained() -> None:
    document = DOCUMENT.read_text()
    missing = [name for name in (*CELERY, *TRANSPORT) if f"`{name}`" not in document]
    assert not missing


def test_the_broker_url_of_an_own_redis_is_private(home: Path) -> None:
    assert broker_url(read_settings(home=home)).startswith("redis+socket://")
