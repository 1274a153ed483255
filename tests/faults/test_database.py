"""The database: locked, killed, deadlocked, full, or silent about a COMMIT."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url, text

from tests.faults.rows import postgresql, sqlite
from tests.faults.servers import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab


def plain_url(lab: Lab) -> str:
    url = make_url(lab.settings.database).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


@pytest.mark.faults_full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [20, 45])
def test_f17_the_database_is_locked(open_lab: Callable[..., Lab], seconds: int) -> None:
    lab = open_lab(heartbeat=10, dead_after=35, sweep_interval=15, lost_after=60, grace=20)
    running = lab.workers(2)
    lab.put(lab.naps(800, 0.01))
    lab.until(lambda: lab.rows() > 50, what="work")
    with lab.desk.database.engine.connect() as connection, connection.begin():
        if lab.database_kind == "postgresql":
            connection.execute(text("LOCK TABLE chunks IN ACCESS EXCLUSIVE MODE"))
        connection.execute(text("UPDATE counters SET value = value"))
        time.sleep(seconds)
    with lab.timed():
        lab.quiet()
    assert all(worker.process.poll() is None for worker in running)
    found = lab.verdict(f"F17 {seconds} s", 1, "a writer holds the lock, default settings")
    assert found.extra == 0, "live workers were taken for dead"


@postgresql
def test_f18_postgresql_kills_its_backends(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(4, 60)
    running = lab.workers(2)
    lab.put(lab.naps(n * 60, 0.01))
    killed = 0
    with psycopg.connect(plain_url(lab), autocommit=True) as admin:
        for _ in range(n):
            time.sleep(lab.random.uniform(0.1, 0.4))
            killed += len(
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchall()
            )
    assert all(worker.process.poll() is None for worker in running)
    lab.verdict("F18", n, f"pg_terminate_backend of all: {killed} connections")


@pytest.mark.faults_full
@postgresql
def test_f19_the_answer_to_commit_is_lost(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(3, 10)
    url = make_url(lab.settings.database)
    folder = Path(str(url.query["host"]))
    proxy = Proxy(folder / ".s.PGSQL.5432")
    left = [n]

    def cut(sent: bytes) -> bool:
        if b"COMMIT" in sent and left[0] and lab.random.random() < 0.2:
            left[0] -= 1
            return True
        return False

    try:
        through = url.set(host="127.0.0.1", port=proxy.port, query={})
        proxy.cut = cut
        [worker] = lab.workers(
            1, CLASSYARD_DATABASE_URL=through.render_as_string(hide_password=False)
        )
        lab.put(lab.naps(n * 80, 0.005))
        lab.quiet(100)
        assert worker.process.poll() is None
    finally:
        proxy.close()
    assert proxy.cuts >= n / 2
    lab.verdict("F19", proxy.cuts, "line cut after COMMIT was sent, before its answer")


@pytest.mark.faults_full
@postgresql
def test_f20_deadlocks(lab: Lab) -> None:
    lab.workers(2)
    lab.put(lab.naps(600, 0.005))
    stop = threading.Event()
    victims = [0]

    def lock_the_wrong_way_round() -> None:
        with psycopg.connect(plain_url(lab), autocommit=True) as other:
            while not stop.is_set():
                try:
                    with other.transaction():
                        other.execute("SELECT 1 FROM jobs ORDER BY id DESC FOR UPDATE")
                        other.execute("SELECT 1 FROM chunks ORDER BY id DESC LIMIT 40 FOR UPDATE")
                        time.sleep(0.02)
                except psycopg.errors.DeadlockDetected:
                    victims[0] += 1
                time.sleep(0.02)

    other = threading.Thread(target=lock_the_wrong_way_round)
    other.start()
    try:
        lab.quiet()
    finally:
        stop.set()
        other.join()
    lab.verdict("F20", 1, f"a writer locks in reverse order; {victims[0]} deadlocks on its side")


@pytest.mark.faults_full
@sqlite
def test_f21_the_disk_is_full(lab: Lab) -> None:
    lab.put(lab.naps(2000, 0.002))
    # The children may not write files beyond this size: SQLite says "disk I/O error" or "full".
    limit = max(path.stat().st_size for path in lab.settings.home.glob("test.db*")) + 150_000
    log = lab.settings.home / "limited.log"
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY));"
        "from worker.__main__ import main; main()"
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.DEVNULL, stderr=output, env=lab.environment(),
        )  # fmt: skip
    try:
        lab.until(lambda: "waiting for the database" in log.read_text(), 60, "a full disk")
        full_at = lab.rows()
        for pid in [process.pid, *children(process.pid)]:
            resource.prlimit(
                pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
        with lab.timed():
            lab.quiet()
        assert process.poll() is None
        assert full_at < 2000
        lab.verdict("F21", 1, f"no file may grow (RLIMIT_FSIZE) after {full_at} rows; then it may")
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.faults_full
@postgresql
def test_f18_postgresql_away_at_start_and_later(open_lab: Callable[..., Lab]) -> None:
    lab = open_lab()
    url = make_url(lab.settings.database)
    folder = Path(str(url.query["host"]))
    proxy = Proxy(folder / "nobody-listens-here")
    through = url.set(host="127.0.0.1", port=proxy.port, query={}).render_as_string(
        hide_password=False
    )
    worker = lab.launch("worker", CLASSYARD_DATABASE_URL=through)
    lab.until(lambda: "cannot use the database" in worker.log.read_text(), what="its complaint")
    proxy.target = str(folder / ".s.PGSQL.5432")
    lab.arrived(worker)
    lab.put(lab.naps(600, 0.01))
    lab.until(lambda: lab.rows() > 50, what="work")
    proxy.target = str(folder / "nobody-listens-here")
    cut_all(lab)
    time.sleep(30)
    proxy.target = str(folder / ".s.PGSQL.5432")
    with lab.timed():
        lab.quiet()
    assert worker.process.poll() is None
    lab.verdict("F18a", 2, "database away when the worker starts, and again for 30 s")
    proxy.close()


def cut_all(lab: Lab) -> None:
    with psycopg.connect(plain_url(lab), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
