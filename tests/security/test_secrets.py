"""What is secret stays so: signed URIs and passwords are in no log, event, page, error or output."""

from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.redact import redact
from core.settings import read_settings
from db.session import open_database
from tests.security.flower import ask
from tests.support.events import Events
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2SECRET"
SIGNED = f"http://me:{SECRET}@example.com/a.png?X-Amz-Signature={SECRET}"
PASSWORD = "flowerSECRETpass"


@pytest.fixture
def yard(home: Path, broker_url: str, free_port: int) -> Iterator[Yard]:
    settings = read_settings(
        home=home, broker_url=broker_url, engine="stub", concurrency=1, max_attempts=3,
        flower_port=free_port, flower_password=PASSWORD, sweep_interval=1,
    )  # fmt: skip
    with Yard(settings) as opened:
        yield opened


def look(yard: Yard, path: str) -> str:
    return ask(yard.settings.flower_port, path, PASSWORD).body


def test_a_signed_uri_is_seen_by_nobody(yard: Yard) -> None:
    with ExitStack() as stack:
        worker = yard.worker()
        flower = yard.start("flower")
        events = stack.enter_context(Events(yard))
        yard.until(lambda: look(yard, "/healthcheck"), what="Flower")
        # Fails with a text that holds its URI, as a library's exception may; then one at work.
        broken = yard.submit([f"stub://raise/a?X-Amz-Signature={SECRET}", SIGNED])
        assert yard.finish(broken) == "completed_with_errors"
        slow = yard.submit([f"stub://sleep/6/a?X-Amz-Signature={SECRET}", SIGNED])
        busy = yard.desk.app.control.inspect(timeout=5, limit=1)
        yard.until(lambda: any((busy.active() or {}).values()), what="work")
        name = next(iter(busy.active() or {}))
        seen = [
            *(json.dumps(show()) for show in (busy.active, busy.reserved, busy.stats, busy.conf)),
            *(look(yard, path) for path in ("/", "/tasks", "/broker", f"/worker/{name}")),
            *(look(yard, f"/api/{path}") for path in ("workers?refresh=1", "tasks")),
        ]
        tasks = json.loads(look(yard, "/api/tasks"))
        seen += [look(yard, f"/task/{task}") for task in tasks]
        seen += [look(yard, f"/api/task/info/{task}") for task in tasks]
        for command in (["jobs"], ["status", str(broken)], ["doctor"], ["results", str(broken)]):
            done = yard.command(*command)
            seen.append(done.out + done.err)
        assert yard.finish(slow) == "completed"
    kinds = {event["type"] for event in events.heard}
    assert {"task-received", "task-started", "task-failed", "task-succeeded"} <= kinds
    assert len(tasks) >= 3
    seen += [json.dumps(events.heard, default=str), worker.log.read_text(), flower.log.read_text()]
    seen += [str(row) for row in yard.sql("SELECT error FROM results WHERE error IS NOT NULL")]
    seen += [str(row) for row in yard.sql("SELECT name, error FROM jobs")]
    assert [place for place in seen if SECRET in place or PASSWORD in place] == []
    assert "asked for by stub://raise/a?…" in "".join(seen)


def test_the_full_debug_log_tells_no_more(yard: Yard) -> None:
    log = yard.launch("worker", "--loglevel=DEBUG").log
    job = yard.submit([SIGNED])
    assert yard.finish(job) == "completed"
    # A message for a task that this version does not know is shown by Celery with its content.
    yard.desk.app.send_task("classyard.later", kwargs={"uris": [SIGNED]}, queue="classyard")
    line = "refused a message that is not ours: KeyError: 'classyard.later'"
    yard.until(lambda: line in log.read_text(), what="the stranger's log line")
    assert " DEBUG " in log.read_text()
    assert SECRET not in log.read_text()
    assert base64.b64encode(SIGNED.encode())[4:20].decode() not in log.read_text()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (SIGNED, "http://…@example.com/a.png?…"),
        ("redis://:p@ss/w0rd@host:1/0 is away", "redis://…@host:1/0 is away"),
        ("see https://h/a#frag", "see https://h/a#…"),
        ("http://h/p?sig=S@x&t=S", "http://…"),
        ("['http://h/a?s=S', 'b']", "['http://h/a?… 'b']"),
        ("what? no URI: a@b", "what? no URI: a@b"),
    ],
)
def test_redact(given: str, shown: str) -> None:
    assert redact(given) == shown


def test_a_failed_statement_hides_its_values(database_url: str) -> None:
    database = open_database(database_url)
    with pytest.raises(DBAPIError) as caught:
        database.write(lambda c: c.execute(text("SELECT :x FROM nowhere"), {"x": SECRET}))
    database.close()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"CLASSYARD_BROKER_URL": f"redis://:{SECRET}@127.0.0.1:1/0"},
        {"CLASSYARD_BROKER_URL": f"redis://:{SECRET}@127.0.0.1:port/0"},
        {"CLASSYARD_BROKER_URL": f"redis://:x/{SECRET}@127.0.0.1:6379/0"},
        {"CLASSYARD_DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:1/db"},
        {"CLASSYARD_DATABASE_URL": f"postgresql://me:{SECRET}@127.0.0.1:port/db"},
        {"CLASSYARD_DATABASE_URL": f"postgresql://me:x@{SECRET}@127.0.0.1:1/db"},
        {"CLASSYARD_DATABASE_URL": f"mysql://me:{SECRET}@127.0.0.1/db"},
    ],
    ids=lambda settings: next(iter(settings.values())).replace(SECRET, "…"),
)
def test_commands_never_print_a_password(
    home: Path, broker_url: str, settings: dict[str, str]
) -> None:
    yard = Yard(read_settings(home=home, broker_url=broker_url, engine="stub"))
    done = yard.command("doctor", seconds=30, **settings)
    said = done.out + done.err
    assert done.code == 1
    assert SECRET not in said
    assert "Traceback" not in said
    assert "CLASSYARD_" in said or "127.0.0.1" in said
