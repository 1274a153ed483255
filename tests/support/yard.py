"""A yard for tests: real commands as subprocesses, and the checker of the promise."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import text

from broker.app import make_app
from db.migrate import migrate
from db.session import open_database
from producer.submit import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.settings import Settings

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Running:
    """A command that runs; its output is in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, signum: int = signal.SIGTERM, seconds: float = 40) -> int:
        """Ask it to end; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(seconds)

    def children(self) -> list[int]:
        """Process ids of its children."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


@dataclass
class Yard:
    """Settings, an open desk, and the processes a test started (ended with it)."""

    settings: Settings
    #: Factor on every wait: what a busy machine may need more.
    patience: float = field(default=1.0, kw_only=True)
    desk: Desk = field(init=False)
    processes: list[Running] = field(default_factory=list)

    def __enter__(self) -> Self:
        database = open_database(self.settings.database)
        migrate(database)
        self.desk = Desk(make_app(self.settings, patient=False), database, self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGCONT)
            if running.process.poll() is None:
                running.kill()
        self.desk.app.close()
        self.desk.database.close()

    def environment(self, **further: str) -> dict[str, str]:
        """The environment of a command of this yard."""
        return {**self.settings.as_environment(), "NO_COLOR": "1", **further}

    def command(
        self, *words: str, seconds: float = 60, stdin: str = "", cwd: Path | None = None,
        **further: str,
    ) -> Finished:  # fmt: skip
        """Run a `classyard` command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "producer", *words],
            input=stdin.encode(),
            capture_output=True,
            env=self.environment(**further),
            cwd=cwd or ROOT,
            timeout=seconds,
            check=False,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **further: str) -> Running:
        """Start a `classyard` command that goes on."""
        return self.launch("producer", *words, **further)

    def launch(self, module: str, *words: str, **further: str) -> Running:
        """Start `python -m module words`."""
        log = self.settings.home / f"{module}-{len(self.processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment(**further),
                cwd=ROOT,
            )
        running = Running(process, log)
        self.processes.append(running)
        return running

    def worker(self, **further: str) -> Running:
        """Start a worker and wait until it has arrived."""
        before = self.sql("SELECT count(*) FROM workers")[0][0]
        running = self.start("worker", **further)
        self.until(
            lambda: (
                self.sql("SELECT count(*) FROM workers WHERE pid = :pid", pid=running.pid)[0][0]
                or running.process.poll() is not None
            ),
            what=f"the worker's arrival ({before} before)",
        )
        assert running.process.poll() is None, running.log.read_text()
        return running

    def sql(self, statement: str, **values: Any) -> Sequence[Any]:
        """Ask the database."""
        return self.desk.database.read(lambda c: c.execute(text(statement), values).all())

    def until(self, holds: Callable[[], Any], seconds: float = 60, what: str = "it") -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds * self.patience
        while not holds():
            if time.monotonic() > deadline:
                logs = "\n".join(p.log.read_text()[-3000:] for p in self.processes)
                raise AssertionError(f"waited {seconds} s for {what}\n{logs}")
            time.sleep(0.05)

    def submit(self, uris: Sequence[str], *words: str, model: str = "digits") -> int:
        """Submit URIs through the command line; return the job's id."""
        done = self.command(
            "submit", "-", "--model", model, *words, "--json", stdin="\n".join(uris) + "\n"
        )
        assert done.code == 0, done.err
        return int(json.loads(done.out)["job_id"])

    def finish(self, job_id: int, seconds: float = 60) -> str:
        """Wait until a job has ended; return its status."""
        ended = ("completed", "completed_with_errors", "failed", "cancelled")
        statement = "SELECT status FROM jobs WHERE id = :id"
        self.until(
            lambda: self.sql(statement, id=job_id)[0][0] in ended, seconds, f"job {job_id}'s end"
        )
        return str(self.sql(statement, id=job_id)[0][0])


def furnish(home: Path, converted: Path) -> None:
    """Put the converted models into a HOME."""
    shutil.copytree(converted / "converted", home / "converted", copy_function=os.link)
