"""A yard that is kept running: every command works against it, Flower watches, Ctrl-C ends it all."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import read_settings
from tests.acceptance.conftest import left_over
from tests.support.ports import free_port
from tests.support.record import LABELS
from tests.support.yard import ROOT, Yard
from worker.stub import expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.yard import Running

GOOD = [f"http://pictures.example/{n}.jpg?signature=SECRET" for n in range(30)]
BAD = ["stub://fail/http_4xx/1", "stub://fail/empty/2"]


@pytest.fixture(scope="module")
def up() -> Iterator[Yard]:
    """`classyard up --flower`, with nothing set but HOME, the stub engine and a port."""
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    yard = Yard(read_settings(home=home, engine="stub", concurrency=2, flower_port=free_port()))
    with yard:
        started(yard, "--flower")
        yield yard
    shutil.rmtree(home, ignore_errors=True)


def started(yard: Yard, *words: str) -> Running:
    running = yard.start("up", *words)
    yard.until(lambda: "Ctrl-C stops" in running.log.read_text(), what="up")
    return running


def ask(yard: Yard, path: str, password: str = "") -> tuple[int, str]:
    """Ask Flower for a page; return status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{yard.settings.flower_port}{path}")
    if password:
        login = base64.b64encode(f"classyard:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def results(yard: Yard, job: int, *words: str) -> list[Any]:
    done = yard.command("results", str(job), "--format", "jsonl", *words)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_job_from_submit_to_the_last_row(up: Yard, tmp_path: Path) -> None:
    lines = "\n".join([*GOOD, *BAD])
    plain = up.command("submit", "-", "--model", "digits", "--name", "mine", stdin=lines)
    assert (plain.code, plain.err) == (0, "")
    assert re.fullmatch(r"\d+\n", plain.out)
    job = int(plain.out)
    watched = up.command("status", str(job), "--watch")
    assert watched.code == 3, "two images failed"
    assert "32 submitted = 30 ok + 2 failed + 0 cancelled + 0 pending" in watched.out
    assert re.search(r"http_4xx +1", watched.out)
    told = json.loads(up.command("status", str(job), "--json").out)
    assert (told["status"], told["name"], told["pending"]) == ("completed_with_errors", "mine", 0)

    rows = results(up, job)
    assert [row["uri"] for row in rows] == [*GOOD, *BAD]
    assert all(row["class_index"] == expected(row["uri"], LABELS) for row in rows[:30])
    label = rows[0]["label"]
    of_label = results(up, job, "--label", label)
    assert [row["position"] for row in of_label] == [
        row["position"] for row in rows if row["label"] == label
    ]
    assert [row["error_code"] for row in results(up, job, "--failed")] == ["http_4xx", "empty"]
    assert results(up, job, "--min-score", "0.9") == []

    file = tmp_path / "out.csv"
    done = up.command("results", str(job), "--format", "csv", "-o", str(file))
    assert done.code == 0, done.err
    with file.open(newline="") as opened:
        table = list(csv.DictReader(opened))
    assert [line["uri"] for line in table] == [*GOOD, *BAD]
    assert table[0]["label"] == label
    piped = up.command("results", str(job), "--format", "csv", "--limit", "3")
    assert [line["position"] for line in csv.DictReader(io.StringIO(piped.out))] == ["0", "1", "2"]
    shown = up.command("results", str(job), "--limit", "2", COLUMNS="100")
    assert [line.split()[0] for line in shown.out.splitlines()] == ["#", "0", "1"]
    listed = json.loads(up.command("jobs", "--json").out)
    assert (listed[0]["job_id"], listed[0]["failed"]) == (job, 2)


def test_waiting_for_a_job(up: Yard) -> None:
    done = up.command("submit", "-", "-m", "digits", "--wait", "--json", stdin="\n".join(GOOD))
    assert done.code == 0, done.err
    assert json.loads(done.out)["ok"] == 30
    done = up.command("submit", "-", "-m", "digits", "--wait", stdin=BAD[0])
    assert done.code == 3, done.err
    assert "http_4xx" in done.out


def test_the_same_key_is_the_same_job(up: Yard) -> None:
    first, again = (
        json.loads(up.command("submit", GOOD[0], "-m", "digits", "--key", "k", "--json").out)
        for _ in range(2)
    )
    assert first["job_id"] == again["job_id"]


def test_run_uses_the_worker_that_is_there(up: Yard) -> None:
    done = up.command("run", "-", "--model", "digits", "--json", stdin="\n".join(GOOD))
    assert done.code == 0, done.err
    statement = "SELECT DISTINCT worker FROM results WHERE job_id = :id"
    (found,) = up.sql(statement, id=json.loads(done.out)["job_id"])
    assert [row.id for row in up.sql("SELECT id FROM workers")] == [found.worker]


def test_looking_after_the_yard(up: Yard) -> None:
    assert up.command("migrate").code == 0
    swept = up.command("sweep", "--json")
    assert json.loads(swept.out)["dead"] == 0
    examined = up.command("doctor", "--json")
    assert examined.code == 0, examined.out
    assert {found["subject"] for found in json.loads(examined.out)} >= {
        "database",
        "redis",
        "workers",
    }
    named = {model["name"]: model for model in json.loads(up.command("models", "--json").out)}
    assert named["digits"]["state"] == "ready"
    assert named["mobilenet_v2"]["labels"] == 1000
    checked = up.command("models", "check", "digits")
    assert checked.code == 0, checked.err
    assert "digits: ok, 10 labels" in checked.out


def test_flower_shows_the_work_to_those_who_know_the_password(up: Yard) -> None:
    (running,) = up.processes
    password = re.search(r"password (\S+)\)", running.log.read_text())
    assert password is not None
    up.until(lambda: ask(up, "/", password[1])[0] == 200, what="Flower")
    assert ask(up, "/")[0] == 401
    assert ask(up, "/", "wrong")[0] == 401
    assert ask(up, "/api/tasks")[0] == 401
    job = up.submit(GOOD)
    up.finish(job)
    up.until(
        lambda: f"job {job} chunk 1/" in ask(up, "/api/tasks", password[1])[1], what="the task"
    )
    _, tasks = ask(up, "/api/tasks", password[1])
    assert {task["name"] for task in json.loads(tasks).values()} == {"classyard.classify"}
    _, shown = ask(up, "/workers?json=1", password[1])
    worker = json.loads(shown)["data"]
    assert len(worker) == 1
    for page in ("/api/tasks", "/workers?json=1", "/tasks", "/"):
        assert "SECRET" not in ask(up, page, password[1])[1]
        assert "pictures.example" not in ask(up, page, password[1])[1]


def test_what_the_worker_logs_is_passed_on_by_name(up: Yard) -> None:
    job = up.submit(GOOD)
    up.finish(job)
    (running,) = up.processes
    line = rf"^worker  \| .*job {job} chunk \d+: \d+ images"
    up.until(lambda: re.search(line, running.log.read_text(), re.MULTILINE), what="the line")
    assert "SECRET" not in running.log.read_text()


def test_a_terminal_gets_a_board_and_sigkill_leaves_no_orphan(home: Path) -> None:
    settings = read_settings(home=home, engine="stub", concurrency=2, grace=2)
    terminal, theirs = pty.openpty()
    with Yard(settings) as yard, os.fdopen(terminal, "rb", buffering=0) as screen:
        running = subprocess.Popen(
            [sys.executable, "-m", "producer", "up"],
            stdin=subprocess.DEVNULL,
            stderr=theirs,
            env=yard.environment(TERM="xterm", COLUMNS="100"),
            cwd=ROOT,
        )
        os.close(theirs)
        try:
            seen = b""
            # Read in pieces, wherever the terminal cuts it: until all of it is there.
            while not re.search(
                rb"child +state +restarts +where\s+worker +up \d+ s +0 +\S+worker.log"
                rb".*no job is under way",
                seen,
                re.DOTALL,
            ):
                seen += re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", screen.read(65536))
        finally:
            running.kill()
            running.wait()
        assert left_over(home) == []


@pytest.mark.parametrize(
    ("command", "signum"),
    [
        ("up", signal.SIGINT),
        ("up", signal.SIGTERM),
        ("run", signal.SIGINT),
        ("run", signal.SIGTERM),
    ],
)
def test_ctrl_c_and_sigterm_leave_nothing_behind(home: Path, command: str, signum: int) -> None:
    settings = read_settings(home=home, engine="stub", concurrency=2, grace=2)
    with Yard(settings) as yard:
        if command == "up":
            running = started(yard)
            assert running.stop(signum) == 0
        else:
            slow = home / "slow.txt"
            slow.write_text("".join(f"stub://sleep/0.1/{n}\n" for n in range(2000)))
            running = yard.start("run", str(slow), "--model", "digits", "--chunk-size", "10")
            yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0] > 0, what="a row")
            assert running.stop(signum) == 130
            said = running.log.read_text()
            assert "interrupted; job 1 is kept: 'classyard up' goes on with it" in said
            assert "Traceback" not in said
            log = (home / "logs" / "worker.log").read_text()
            assert yard.sql("SELECT id FROM workers") == [], log[-9000:]
        assert left_over(home) == []
        assert not (home / "redis" / "redis.sock").exists()


def test_a_full_disk_below_the_logs_costs_only_the_logs(home: Path) -> None:
    (home / "logs").mkdir()
    (home / "logs" / "worker.log").symlink_to("/dev/full")
    with Yard(read_settings(home=home, engine="stub", concurrency=1)) as yard:
        running = started(yard, "--no-web")
        yard.finish(yard.submit(GOOD))
        assert running.stop() == 0
