"""The PostgreSQL roles that deploy/sql/roles.sql ships: enough to work with, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from core.settings import read_settings
from db.migrate import migrate
from db.session import open_database
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLES = ("worker", "producer", "reader")
NOBODYS = (
    "DROP TABLE results", "ALTER TABLE results ADD COLUMN x int", "TRUNCATE results",
    "CREATE TABLE mine (x int)", "CREATE TEMP TABLE mine (x int)", "CREATE SCHEMA mine",
    "SELECT * FROM strangers", "UPDATE alembic_version SET version_num = 'x'",
    "SELECT pg_read_file('/etc/passwd')", "COPY results TO '/tmp/x'", "CREATE ROLE mine",
    "SELECT rolpassword FROM pg_authid",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)  # fmt: skip
REFUSED = {
    "worker": ("UPDATE results SET label = 'x'", "DELETE FROM results", "INSERT INTO jobs (name) VALUES ('x')"),
    "producer": ("UPDATE workers SET host = 'x'",),
    "reader": (
        "INSERT INTO results (job_id) VALUES (1)", "UPDATE jobs SET status = 'cancelled'",
        "DELETE FROM chunks", "UPDATE counters SET value = 0", "SELECT * FROM notices",
        "SELECT nextval('jobs_id_seq')",
    ),
}  # fmt: skip


@pytest.fixture
def urls(postgres_url: str) -> Iterator[dict[str, str]]:
    """A migrated database with our roles (under names of this test's own); a URL for each."""
    migrated = open_database(postgres_url)
    migrate(migrated)
    migrated.close()
    prefix = f"t{uuid4().hex[:8]}"
    script = (ROOT / "deploy" / "sql" / "roles.sql").read_text().replace("classyard_", f"{prefix}_")
    names = [f"{prefix}_{role}" for role in ROLES]
    owner = make_url(postgres_url).set(drivername="postgresql")
    with psycopg.connect(owner.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute("CREATE TABLE strangers (x int)")
        for _ in range(2):  # it may be run again
            admin.execute(script.encode())
        for name in names:
            admin.execute(f"ALTER ROLE {name} PASSWORD 'pass'".encode())
        yield {
            role: owner.set(username=name, password="pass").render_as_string(hide_password=False)
            for role, name in zip(ROLES, names, strict=True)
        }
        for name in names:
            admin.execute(f"DROP OWNED BY {name}".encode())
            admin.execute(f"DROP ROLE {name}".encode())


def test_a_whole_job_as_these_roles(home: Path, broker_url: str, urls: dict[str, str]) -> None:
    settings = read_settings(
        home=home, broker_url=broker_url, database_url=urls["producer"], engine="stub",
        concurrency=1, max_attempts=4, sweep_interval=1,
    )  # fmt: skip
    with Yard(settings) as yard:
        worker = yard.worker(CLASSYARD_DATABASE_URL=urls["worker"])
        # One picture crashes its child: its chunk is split, which deletes and inserts chunks.
        uris = ["stub://crash/a", *(f"stub://a/{number}" for number in range(8))]
        job = yard.submit(uris, "--chunk-size", "2", "--key", "once")
        assert yard.finish(job) == "completed_with_errors"
        assert yard.sql("SELECT count(*), min(error_code) FROM results")[0] == (9, "worker_crash")
        done = yard.command("submit", "-", "--model", "digits", stdin="a.png\nb\x01\n")
        assert done.code != 0
        assert yard.sql("SELECT count(*) FROM jobs")[0][0] == 1
        for words in (["sweep"], ["retry", str(job)]):
            done = yard.command(*words)
            assert "denied" not in done.out + done.err, words
        assert worker.stop() == 0
        assert yard.sql("SELECT count(*) FROM workers")[0][0] == 0
        assert "denied" not in worker.log.read_text()
        reading = yard.command("results", str(job), CLASSYARD_DATABASE_URL=urls["reader"])
        assert reading.code == 0, reading.err


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_not_do(urls: dict[str, str], role: str) -> None:
    with psycopg.connect(urls[role], autocommit=True) as connection:
        for statement in (*NOBODYS, *REFUSED[role]):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
