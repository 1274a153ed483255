"""deploy/sql/partition.sql: the same yard, its results partitioned by job."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from db.migrate import migrate
from tests.faults.checker import check
from tests.support.postgres import programs
from tests.support.yard import ROOT

if TYPE_CHECKING:
    from tests.support.yard import Yard

URIS = [f"https://pictures.example.org/{n}.jpg" for n in range(60)]
TABLE_OF = (
    "SELECT DISTINCT job_id, replace(tableoid::regclass::text, 'public.', '') AS place FROM results"
    " ORDER BY job_id"
)


def psql(yard: Yard, *words: str) -> subprocess.CompletedProcess[str]:
    url = make_url(yard.settings.database).set(drivername="postgresql")
    return subprocess.run(
        [str(programs() / "psql"), url.render_as_string(hide_password=False), "-v",
         "ON_ERROR_STOP=1", "--quiet", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_results_partitioned_by_job(yard: Yard) -> None:
    worker = yard.worker()
    jobs = {yard.submit(URIS): URIS}
    (first,) = jobs
    yard.finish(first)
    assert worker.stop() == 0
    script = f"--file={ROOT / 'deploy' / 'sql' / 'partition.sql'}"
    done = psql(yard, script)
    assert done.returncode == 0, done.stderr
    assert "partitioned already" in psql(yard, script).stderr
    ranged = psql(yard, f"--command=SELECT classyard_partition({first + 1}, {first + 2})")
    assert ranged.returncode == 0, ranged.stderr
    migrate(yard.desk.database)

    yard.worker()
    for _ in range(2):
        job = yard.submit(URIS, "--chunk-size", "7")
        jobs[job] = URIS
        yard.finish(job)
    assert check(yard, jobs).ok
    places = [tuple(row) for row in yard.sql(TABLE_OF)]
    assert places == [
        (first, "results_0"), (first + 1, f"results_{first + 1}"), (first + 2, "results_rest")
    ]  # fmt: skip
    assert yard.sql("SELECT count(*) FROM predictions WHERE rank = 1")[0][0] == 180
    names = {row.indexname for row in yard.sql(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'results'")}  # fmt: skip
    assert {"pk_results", "ix_results_job_id_label", "ix_results_job_id_error_code"} <= names
    exported = yard.command("results", str(first), "--format", "csv")
    assert exported.out.count("\n") == 61
    assert psql(yard, "--command=DROP TABLE results_0").returncode == 0
    pruned = yard.command("prune", "--before", "2100-01-01", "--yes")
    assert pruned.code == 0, pruned.err
    assert yard.sql("SELECT count(*) FROM results")[0][0] == 0
