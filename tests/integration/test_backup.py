"""Backup and restore as docs/operations.md says it: a job goes on from the copy, without its Redis."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from broker.embedded import embedded_redis, embedded_url
from tests.faults.checker import check
from tests.faults.lab import QUICK
from tests.faults.rows import first_postgresql
from tests.support.postgres import programs
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings

URIS = [f"stub://sleep/0.03/{n}" for n in range(200)]


@pytest.fixture
def second_home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cy-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def restored(settings: Settings, second_home: Path) -> Iterator[Settings]:
    """Settings of the yard after a disaster: another database, another Redis."""
    url = make_url(settings.database)
    name = f"restored_{uuid4().hex[:8]}"
    if url.get_backend_name() == "sqlite":
        database = f"sqlite:///{second_home}/classyard.db"
    else:
        database = url.set(database=name).render_as_string(hide_password=False)
    with embedded_redis(second_home):
        yield settings.model_copy(
            update={
                **QUICK,
                "home": second_home,
                "database_url": database,
                "broker_url": embedded_url(second_home),
            }
        )
    if url.get_backend_name() != "sqlite":
        text = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(text, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def copy(old: Settings, new: Settings, folder: Path) -> None:
    """Back one database up and restore it as the other, with the document's commands."""
    source, target = make_url(old.database), make_url(new.database)
    if source.get_backend_name() == "sqlite":
        backup = f"{folder}/backup.db"
        script = f"import sqlite3; sqlite3.connect('{source.database}').execute(\"VACUUM INTO '{backup}'\")"
        subprocess.run(["python3", "-c", script], check=True)
        shutil.copy(backup, str(target.database))
        return
    plain = source.set(drivername="postgresql")
    dump = f"{folder}/classyard.dump"
    for command in (
        ["pg_dump", "--format=custom", f"--file={dump}", f"--dbname={_text(plain)}"],
        ["createdb", f"--maintenance-db={_text(plain)}", str(target.database)],
        [
            *("pg_restore", "--exit-on-error", "--no-owner"),
            *(f"--dbname={_text(target.set(drivername='postgresql'))}", dump),
        ],
    ):
        subprocess.run([str(programs() / command[0]), *command[1:]], check=True)


def _text(url: object) -> str:
    return url.render_as_string(hide_password=False)  # type: ignore[attr-defined, no-any-return]


@first_postgresql
def test_a_job_goes_on_from_a_backup(yard: Yard, restored: Settings, tmp_path: Path) -> None:
    worker = yard.worker()
    job = yard.submit(URIS, "--chunk-size", "10")
    yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0] >= 30, what="some rows")
    worker.kill()  # the disaster; a copy of the middle of the job is what is left
    copy(yard.settings, restored, tmp_path)
    with Yard(restored) as after:
        done = after.sql("SELECT count(*) FROM results")[0][0]
        assert 30 <= done < len(URIS), "the copy is of the middle of the job"
        # What was queued has no message any more, what was running no worker: the sweep finds both.
        assert after.command("sweep").code == 0
        after.worker()
        assert after.finish(job) == "completed"
        verdict = check(after, {job: URIS})
        assert verdict.ok, verdict
