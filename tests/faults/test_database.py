"""The database: locked, killed, deadlocked, full, or silent about a COMMIT."""

from __future__ import annotations

import contextlib
import itertools
import resource
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url

from db.session import open_database
from producer.submit import Desk
from tests.faults.lab import DEFAULT
from tests.faults.rows import postgresql, sqlite
from tests.faults.servers import PostgreSQLServer, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.lab import Lab
    from tests.support.yard import Running


def plain_url(lab: Lab) -> str:
    url = make_url(lab.settings.database).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


@contextlib.contextmanager
def locked(lab: Lab) -> Iterator[None]:
    """Be the one writer that nobody gets past."""
    if lab.database_kind == "postgresql":
        with psycopg.connect(plain_url(lab)) as writer:
            writer.execute("LOCK TABLE chunks, workers IN ACCESS EXCLUSIVE MODE")
            yield
        return
    path = make_url(lab.settings.database).database
    assert path is not None
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        yield
        writer.execute("COMMIT")


@pytest.mark.faults_full
@pytest.mark.parametrize("seconds", [20, 60])
def test_f17_the_database_is_locked(
    open_lab: Callable[..., Lab], seconds: int, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab = open_lab(**DEFAULT)
    lab.workers(2)
    for _ in range(n):
        lab.keep_busy(4)
        lab.working(50)
        with locked(lab):
            time.sleep(seconds)
        with lab.timed():
            lab.working(48)
    lab.all_run()
    found = lab.verdict("F17", n, f"a writer holds the lock for {seconds} s, default settings")
    assert found.extra == 0, "live workers were taken for dead"


@postgresql
def test_f18_postgresql_kills_its_backends(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(4, 60)
    lab.workers(2)
    lab.put(lab.naps(n * 60, 0.01))
    killed = 0
    for _ in range(n):
        time.sleep(lab.random.uniform(0.1, 0.4))
        killed += kill_backends(lab)
    lab.all_run()
    lab.verdict("F18", n, f"pg_terminate_backend of all: {killed} connections")


def kill_backends(lab: Lab) -> int:
    """End every connection to the lab's database; return how many there were."""
    with psycopg.connect(plain_url(lab), autocommit=True) as admin:
        killed = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(killed.fetchall())


@pytest.mark.faults_full
@sqlite  # only to have no database of the shared server: this row brings a server of its own
def test_f18_postgresql_is_restarted(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    with PostgreSQLServer() as server:
        lab = open_lab(database_url=server.url)
        lab.workers(2)
        for _ in range(n):
            lab.keep_busy(4)
            lab.working()
            server.restart()
            with lab.timed():
                lab.working(48)
        lab.all_run()
        lab.verdict("F18r", n, "pg_ctl restart -m immediate: the server recovers from a crash")
        lab.desk.database.close()


@pytest.mark.faults_full
@postgresql
def test_f18_postgresql_away_at_start_and_later(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab = open_lab()
    url = make_url(lab.settings.database)
    there = Path(str(url.query["host"])) / ".s.PGSQL.5432"
    nowhere = there.with_name("nobody-listens-here")
    proxy = Proxy(nowhere)
    through = url.set(host="127.0.0.1", port=proxy.port, query={})
    worker = lab.launch(
        "worker", CLASSYARD_DATABASE_URL=through.render_as_string(hide_password=False)
    )
    lab.until(lambda: "cannot use the database" in worker.log.read_text(), what="its complaint")
    proxy.target = str(there)
    lab.arrived(worker)
    for _ in range(n):
        lab.keep_busy(4)
        lab.working(50)
        proxy.target = str(nowhere)
        kill_backends(lab)
        time.sleep(15)
        proxy.target = str(there)
        with lab.timed():
            lab.working(48)
    lab.all_run()
    lab.verdict("F18a", n, "database away when the worker starts, and later for 15 s")
    proxy.close()


@pytest.mark.faults_full
@postgresql
def test_f19_the_answer_to_commit_is_lost(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(3, 20)
    url = make_url(lab.settings.database)
    proxy = Proxy(Path(str(url.query["host"])) / ".s.PGSQL.5432")
    left = [n]

    def cut(sent: bytes) -> bool:
        if b"COMMIT" in sent and left[0] and lab.random.random() < 0.2:
            left[0] -= 1
            return True
        return False

    try:
        through = url.set(host="127.0.0.1", port=proxy.port, query={})
        proxy.cut = cut
        lab.workers(1, CLASSYARD_DATABASE_URL=through.render_as_string(hide_password=False))
        lab.put(lab.naps(n * 80, 0.005))
        lab.quiet(100)
        lab.all_run()
    finally:
        proxy.close()
    assert proxy.cuts >= n / 2
    lab.verdict("F19", proxy.cuts, "line cut after COMMIT was sent, before its answer")


@pytest.mark.faults_full
@postgresql
def test_f19_the_answer_to_a_submitters_commit_is_lost(lab: Lab) -> None:
    """Each of its commits in turn: nothing twice, nothing gone, and no job that only looks whole."""
    url = make_url(lab.settings.database)
    proxy = Proxy(Path(str(url.query["host"])) / ".s.PGSQL.5432")
    through = url.set(host="127.0.0.1", port=proxy.port, query={})
    lab.workers(1)
    direct, number, cuts = lab.desk, 0, 0
    try:
        while cuts == number:
            number, commits = number + 1, itertools.count(1)
            proxy.cut = lambda sent, at=number, seen=commits: b"COMMIT" in sent and next(seen) == at
            database = open_database(through.render_as_string(hide_password=False))
            lab.desk = Desk(direct.app, database, lab.settings)
            lab.put(lab.naps(80, 0.001), chunk_size=1)  # three slices
            database.close()
            cuts = proxy.cuts
    finally:
        lab.desk = direct
        proxy.close()
    assert cuts > 6
    lab.verdict("F19s", cuts, "line cut after each of a submitter's COMMITs, before its answer")


@pytest.mark.faults_full
@postgresql
def test_f20_deadlocks(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    wanted = rounds(1, 5)
    lab.workers(2)
    stop = threading.Event()

    def lock_the_wrong_way_round() -> None:
        with psycopg.connect(plain_url(lab), autocommit=True) as other:
            while not stop.is_set():
                with contextlib.suppress(psycopg.errors.DeadlockDetected), other.transaction():
                    other.execute("SELECT 1 FROM jobs ORDER BY id DESC FOR UPDATE")
                    other.execute("SELECT 1 FROM chunks ORDER BY id DESC LIMIT 40 FOR UPDATE")
                    time.sleep(0.02)
                time.sleep(0.02)

    other = threading.Thread(target=lock_the_wrong_way_round)
    other.start()
    try:
        for _ in range(20):
            lab.put(lab.naps(600, 0.005))
            lab.quiet()
            if (seen := deadlocks(lab)) >= wanted:
                break
    finally:
        stop.set()
        other.join()
    assert seen >= wanted, "nobody was in anybody's way"
    lab.verdict("F20", seen, "deadlocks with a writer that locks in reverse order")


def deadlocks(lab: Lab) -> int:
    """Return how many there were: a worker's transaction may be the one that the server ends."""
    asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(plain_url(lab)) as connection:
        found = connection.execute(asked).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.faults_full
@sqlite
def test_f21_the_disk_under_sqlite_is_full(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    # SIGXFSZ would end a process that writes too much; SQLite is to get an error instead.
    worker = lab.launch("tests.faults.crashpoint", "full_disk", "1", "worker")
    lab.arrived(worker)
    for _ in range(n):
        lab.put(lab.naps(2000, 0.002))
        lab.working()
        complaints = worker.log.read_text().count("waiting for the database")
        largest = max(path.stat().st_size for path in lab.settings.home.glob("test.db*"))
        limit_files(worker, largest + 1000)
        lab.until(
            lambda seen=complaints: worker.log.read_text().count("waiting for the database") > seen,
            what="a full disk",
        )
        limit_files(worker, resource.RLIM_INFINITY)
        with lab.timed():
            lab.working(48)
    lab.all_run()
    lab.verdict("F21", n, "no file of SQLite may grow (RLIMIT_FSIZE); then it may")


def limit_files(worker: Running, size: int) -> None:
    for pid in [worker.pid, *worker.children()]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
