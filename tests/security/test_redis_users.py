"""The Redis users that deploy/redis/users.acl ships: enough to work with, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

from broker.app import make_app
from core.settings import Settings, read_settings
from tests.security.acl_server import guarded_redis, password, url
from tests.security.flower import ask
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Beyond the own prefix, and beyond what work needs.
NOBODYS = (
    ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("FLUSHDB",),
    ("EVAL", "return 1", "0"), ("DEBUG", "SLEEP", "0"), ("MODULE", "LIST"), ("SHUTDOWN",),
    ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("ACL", "LIST"), ("MONITOR",),
    ("SAVE",), ("REPLICAOF", "127.0.0.1", "1"), ("SCRIPT", "FLUSH"), ("GET", "other:key"),
    ("LPUSH", "other", "x"), ("DEL", "celery"), ("RENAME", "classyard:a", "classyard:b"),
    ("PUBLISH", "other", "x"), ("SUBSCRIBE", "other"), ("PSUBSCRIBE", "*"),
)  # fmt: skip
#: A producer sends, and takes nothing; Flower looks, and sends nothing.
REFUSED = {
    "worker": NOBODYS,
    "producer": (
        *NOBODYS, ("BRPOP", "classyard:classyard", "1"), ("HDEL", "classyard:unacked", "x"),
        ("PUBLISH", "classyard:/0.celery.pidbox", "x"),
    ),
    "flower": (*NOBODYS, ("LPUSH", "classyard:classyard", "x"), ("HSET", "classyard:unacked", "a", "b")),
}  # fmt: skip


@pytest.fixture
def port(home: Path, free_port: int) -> Iterator[int]:
    with guarded_redis(home, free_port):
        yield free_port


def settings_of(user: str, home: Path, port: int) -> Settings:
    return read_settings(
        home=home, broker_url=url(user, port), engine="stub", concurrency=1, lost_after=1,
        sweep_interval=1, flower_password="word",
    )  # fmt: skip


def test_what_a_user_may_not_do(port: int) -> None:
    for user, command in [(name, words) for name, all_ in REFUSED.items() for words in all_]:
        with (
            redis.Redis(port=port, username=user, password=password(user)) as client,
            pytest.raises(redis.exceptions.NoPermissionError),
        ):
            client.execute_command(*command)
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_a_whole_job_a_sweep_a_ping_and_flower(home: Path, port: int, flower_port: int) -> None:
    with Yard(settings_of("producer", home, port)) as yard:
        worker = yard.worker(CLASSYARD_BROKER_URL=url("worker", port))
        flower = yard.start(
            "flower",
            CLASSYARD_BROKER_URL=url("flower", port),
            CLASSYARD_FLOWER_PORT=str(flower_port),
        )
        job = yard.submit([f"stub://sleep/0.05/{n}" for n in range(40)], "--chunk-size", "2")
        assert yard.finish(job) == "completed"
        # A message that is gone: the sweep reads the lists and sends it again.
        worker.stop()
        lost = yard.submit(["stub://a"])
        thief = redis.Redis(port=port, username="worker", password=password("worker"))
        with thief:
            assert thief.brpop(["classyard:classyard:5"], 5) is not None
        time.sleep(1.1)
        swept = yard.command("sweep")
        assert "1 lost messages" in swept.out, swept.err
        worker = yard.worker(CLASSYARD_BROKER_URL=url("worker", port))
        assert yard.finish(lost) == "completed"
        app = make_app(settings_of("worker", home, port))
        yard.until(lambda: app.control.inspect(timeout=5, limit=1).ping(), what="the ping")
        app.close()
        picture = "/api/workers?refresh=1"
        yard.until(lambda: "celery@" in ask(flower_port, picture, "word").body, what="its picture")
        doctor = yard.command("doctor")
        assert "bad  redis     6.2.14" in doctor.out or "ok   redis" in doctor.out, doctor.out
    for log in (worker.log, flower.log):
        assert "NOPERM" not in log.read_text()
        assert "permissions" not in log.read_text()
