"""Doors that are shut by default: Redis, Flower, files, command lines, foreign tasks."""

from __future__ import annotations

import stat
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from broker.embedded import embedded_redis, is_running, socket_path
from core.errors import BrokerError, SettingsError
from core.settings import read_settings
from producer.cli.local import SAMPLES
from tests.security.flower import ask
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An address of a documentation network: nothing may be sent to it, and nothing is.
ELSEWHERE = "redis://192.0.2.1:6379/0"
WORD = "flowerWORDpass"


@pytest.fixture
def yard(home: Path, broker_url: str, free_port: int) -> Iterator[Yard]:
    settings = read_settings(
        home=home, broker_url=broker_url, engine="stub", concurrency=1, flower_port=free_port,
        flower_password=WORD,
    )  # fmt: skip
    with Yard(settings) as opened:
        yield opened


@pytest.mark.parametrize("command", ["worker", "submit", "flower", "up"])
def test_a_redis_elsewhere_needs_a_password(home: Path, command: str) -> None:
    yard = Yard(read_settings(home=home, engine="stub"))
    words = [command, str(SAMPLES)] if command == "submit" else [command]
    done = yard.command(*words, seconds=20, CLASSYARD_BROKER_URL=ELSEWHERE)
    assert done.code == 1
    assert done.err.startswith("classyard: CLASSYARD_BROKER_URL names a Redis beyond this machine")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("url", ["redis://192.0.2.1/0", "rediss://user@192.0.2.1/0", "redis://:@h"])
def test_the_operator_may_insist(url: str) -> None:
    assert read_settings(broker_url=url, insecure_broker=True).broker_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [("ports", "80,x"), ("ports", "0"), ("allow_nets", "10.0.0.1/8"), ("flower_port", "70000")],
)
def test_a_malformed_door_is_an_error_with_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^CLASSYARD_{name.upper()}: ") as error:
        read_settings(**{name: value})
    assert len(str(error.value).splitlines()) == 1


def test_flower_is_on_loopback_behind_a_password_and_only_reads(yard: Yard) -> None:
    yard.start("flower")
    port = yard.settings.flower_port
    yard.until(lambda: ask(port, "/healthcheck").status == 200, what="Flower")
    for path in ("/", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert ask(port, path).status == 401, path
    listening = [
        line.split()[1]
        for kind in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{port:04X}"]
    assert ask(port, "/api/workers", "wrong").status == 401
    assert ask(port, "/api/workers", WORD).status == 200
    for path in ("/api/worker/shutdown/celery@x", "/api/worker/pool/grow/celery@x",
                 "/api/task/revoke/x", "/api/task/send-task/classyard.classify"):  # fmt: skip
        assert ask(port, path, WORD, data=b"{}").status in {403, 405}, path
    # Open to whoever is on this machine, as docs/security.md says.
    assert ask(port, "/metrics").status == 200


def test_flower_alone_keeps_the_embedded_redis_that_it_watches(home: Path, free_port: int) -> None:
    settings = read_settings(home=home, engine="stub", flower_port=free_port)
    with Yard(settings) as yard:
        with embedded_redis(home):
            flower = yard.start("flower")
            yard.until(lambda: ask(free_port, "/healthcheck").status == 200, what="it")
        time.sleep(1)  # the guard looks for users five times a second
        assert is_running(home)
        assert flower.stop() == 0
        yard.until(lambda: not is_running(home), 10, "the end of Redis")


def test_nothing_of_home_is_for_others_and_no_command_line_tells_a_secret(yard: Yard) -> None:
    home = yard.settings.home / "fresh"
    environment = {
        "CLASSYARD_HOME": str(home),
        "CLASSYARD_BROKER_URL": "",
        "CLASSYARD_CONCURRENCY": "1",
    }
    up = yard.start("up", "--flower", **environment)
    yard.until(lambda: "Ctrl-C stops" in up.log.read_text(), what="the yard")
    family = [up.pid, *(pid for child in up.children() for pid in (child, *children(child)))]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in family]
    assert any("producer\0flower" in line for line in lines), lines
    assert not any(WORD in line for line in lines)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    open_to_others = [
        path.name
        for path in (*home.iterdir(), home / "redis" / "redis.sock")
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]
    assert open_to_others == []
    assert up.stop(2) == 0


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_socket_folder_made_by_another_is_refused(home: Path) -> None:
    deep = home / ("x" * 90)
    folder = socket_path(deep).parent
    assert not folder.is_relative_to(home)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with ExitStack() as stack:
        stack.callback(folder.rmdir)
        with pytest.raises(BrokerError, match="yours alone"), embedded_redis(deep):
            pass


def test_celerys_own_tasks_are_strangers_too(yard: Yard) -> None:
    worker = yard.worker()
    for name in ("celery.map", "celery.group", "celery.backend_cleanup", "os.system"):
        yard.desk.app.send_task(name, args=[["id"], ["x"]], task_id=uuid4().hex, queue="classyard")
    counted = "SELECT value FROM counters WHERE name = 'messages_refused'"
    yard.until(lambda: yard.sql(counted) and yard.sql(counted)[0][0] >= 4, what="four refusals")
    assert yard.finish(yard.submit(["stub://a"])) == "completed"
    assert worker.process.poll() is None
