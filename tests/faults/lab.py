"""The lab: a yard whose Redis and workers can be broken, and the book of what was measured."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sqlite3
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from core.settings import Settings
from producer.cli.desk import job_request
from producer.sources import open_sources
from producer.submit import submit
from tests.faults.checker import Verdict, check, waiting
from tests.faults.servers import RedisServer, eventually
from tests.support.yard import Running, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Recovery twelve to twenty times as fast as by default, so that tests are short. Same order of bounds.
QUICK = {
    "heartbeat": 0.5,
    "grace": 2.0,
    "dead_after": 3.0,
    "sweep_interval": 1.0,
    "lost_after": 3.0,
}
#: The times that are in force unless somebody changes them.
DEFAULT = {name: Settings.model_fields[name].default for name in QUICK}


@dataclass
class Lab(Yard):
    """A yard with its own Redis, and the jobs that were submitted to it."""

    redis: RedisServer = field(kw_only=True)
    seed: int = field(kw_only=True)
    jobs: dict[int, list[str]] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)

    def __enter__(self) -> Self:
        super().__enter__()
        self.random = random.Random(self.seed)
        return self

    @property
    def database_kind(self) -> str:
        return self.desk.database.dialect

    def workers(self, count: int = 1, **further: str) -> list[Running]:
        """Start workers at once and wait until all have arrived."""
        started = [self.launch("worker", **further) for _ in range(count)]
        for running in started:
            self.arrived(running)
        return started

    def dying_worker(self, point: str, times: int) -> Running:
        """Start a worker that dies at a point (see `crashpoint`), `times` times in all."""
        running = self.launch("tests.faults.crashpoint", point, str(times), "worker")
        self.arrived(running)
        return running

    def arrived(self, running: Running) -> None:
        self.until(
            lambda: (
                running.process.poll() is not None
                or self.sql("SELECT count(*) FROM workers WHERE pid = :pid", pid=running.pid)[0][0]
            ),
            what="the worker's arrival",
        )
        assert running.process.poll() is None, running.log.read_text()[-3000:]

    def working(self, rows: int = 20, seconds: float = 60) -> None:
        """Wait until so many more results have come, or all are there."""
        wanted = self.rows() + rows
        self.until(lambda: self.rows() >= wanted or self.finished(), seconds, "work")

    def finished(self) -> bool:
        """Whether every job has ended."""
        return not self.sql("SELECT 1 FROM jobs WHERE finished_at IS NULL")

    def all_run(self) -> None:
        """Fail if a process has ended, with what it said last."""
        for running in self.processes:
            assert running.process.poll() is None, running.log.read_text()[-4000:]

    def put(self, uris: Sequence[str], chunk_size: int = 8, key: str | None = None) -> int:
        """Submit URIs, in this process."""
        sources = open_sources(["-"], stdin=io.BytesIO("\n".join(uris).encode()))
        request = job_request(self.settings, sources, "digits", 3, ()).named("fault", key=key)
        done = submit(self.desk, sources, request, chunk_size)
        self.jobs[done.job_id] = list(uris)
        return done.job_id

    def naps(self, count: int, seconds: float = 0.01) -> list[str]:
        """URIs of pictures that take some time each."""
        return [f"stub://sleep/{seconds}/{self.random.getrandbits(48):x}" for _ in range(count)]

    def rows(self) -> int:
        """How many results there are."""
        return int(self.sql("SELECT count(*) FROM results")[0][0])

    def keep_busy(self, seconds: float = 4.0, chunk_size: int = 8) -> None:
        """See to it that two children have work for some time, in one job, for a moment in two.

        Not in many: a freed chunk waits its turn behind the windows of all jobs.
        """
        pending = self.sql("SELECT coalesce(sum(size), 0) FROM chunks WHERE status <> 'done'")
        if pending[0][0] < seconds * 100:
            self.put(self.naps(int(seconds * 200), 0.01), chunk_size)

    def held(self, running: Running) -> set[int]:
        """The chunks that a worker runs."""
        found = self.sql(
            "SELECT c.id FROM chunks c JOIN workers w ON w.id = c.worker"
            " WHERE c.status = 'running' AND w.pid = :pid",
            pid=running.pid,
        )
        return {row.id for row in found}

    def freeze(self, running: Running) -> list[int]:
        """Stop a worker with its children, but not in a SQLite transaction: that stops everybody."""
        everyone = [running.pid, *running.children()]
        for _ in range(50):
            for pid in everyone:
                os.kill(pid, signal.SIGSTOP)
            if not self.locked():
                return everyone
            self.thaw(everyone)
            time.sleep(0.05)
        raise AssertionError("the worker is always in a transaction")

    def thaw(self, pids: Sequence[int]) -> None:
        """Let stopped processes go on."""
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def locked(self) -> bool:
        """Whether somebody holds SQLite's one lock for longer than a transaction of ours takes."""
        path = self.desk.database.engine.url.database
        if self.database_kind != "sqlite" or path is None:
            return False
        with contextlib.closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as probe:
            try:
                probe.execute("BEGIN IMMEDIATE")
                probe.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return True
        return False

    def done(self, chunks: set[int]) -> bool:
        """Whether chunks are finished (or were split)."""
        ids = ",".join(map(str, chunks)) or "0"
        left = f"SELECT count(*) FROM chunks WHERE id IN ({ids}) AND status <> 'done'"
        return not self.sql(left)[0][0]

    def counter(self, name: str) -> int:
        rows = self.sql("SELECT value FROM counters WHERE name = :name", name=name)
        return int(rows[0][0]) if rows else 0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long the recovery in the body took."""
        started = time.monotonic()
        yield
        self.recoveries.append(time.monotonic() - started)

    def quiet(self, seconds: float = 90) -> None:
        """Wait until all jobs have ended and Redis is empty."""
        for job in self.jobs:
            self.finish(job, seconds)
        eventually(lambda: not waiting(self), 20 * self.patience)

    def verdict(self, fault: str, n: int, note: str = "") -> Verdict:
        """Wait for quiet, check, write it in the book; fail if anything is wrong."""
        self.quiet()
        found = check(self, self.jobs)
        self.write(fault, n, found, note)
        assert found.ok, (fault, f"seed {self.seed}", found)
        return found

    def write(self, fault: str, n: int, found: Verdict, note: str = "") -> None:
        book = os.environ.get("CLASSYARD_TEST_FAULTS_BOOK")
        if book:
            entry = {
                "fault": fault, "database": self.database_kind, "n": n, "seed": self.seed,
                "recoveries": self.recoveries, "note": note, **asdict(found),
            }  # fmt: skip
            with Path(book).open("a") as file:
                file.write(json.dumps(entry) + "\n")


def make_settings(settings: Settings, redis: RedisServer, **changes: object) -> Settings:
    """Settings of a lab: a fixture's, with this Redis and other times."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return type(settings)(**{**given, **QUICK, "broker_url": redis.url, **changes})
