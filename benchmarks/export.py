"""Memory of `export`, `diff` and `score` over a million rows: the real commands, each in a process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.measure import Figure, conclude, parser, say
from core.settings import read_settings
from db import jobs
from db.jobs import JobRequest
from db.migrate import migrate
from db.session import open_database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from core.settings import Settings

#: MiB of resident memory that no command may exceed.
TARGET = 300

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(0, :rows - 1))",
}
# Five labels, two further columns, every hundredth image failed, every tenth label another in job 2.
_ROWS = """
INSERT INTO results (job_id, position, chunk_id, uri, status, class_index, label, score, predictions,
                     error_code, error, width, height, content_hash, extra, model, worker, classified_at, attempts)
{numbers}
SELECT :job, i, i / 512, 'https://images.example.org/2024/camera-' || (i % 40) || '/IMG_' || (i + 10000000) || '.jpg',
       CASE WHEN i % 100 = 0 THEN 'failed' ELSE 'ok' END,
       CASE WHEN i % 100 <> 0 THEN (i + :shift) % 10 END,
       CASE WHEN i % 100 <> 0 THEN CAST((i + :shift) % 10 AS text) END,
       CASE WHEN i % 100 <> 0 THEN 0.5 + (i % 50) / 100.0 END,
       CASE WHEN i % 100 <> 0 THEN {json_open}'[[' || ((i + :shift) % 10) || ',"' || ((i + :shift) % 10) || '",' || (0.5 + (i % 50) / 100.0)
            || '],[1,"1",0.004],[2,"2",0.003],[3,"3",0.002],[4,"4",0.001]]'{json_close} END,
       CASE WHEN i % 100 = 0 THEN 'http_4xx' END, CASE WHEN i % 100 = 0 THEN 'HTTP 404' END,
       1024, 768, CAST(10000000 + i AS text) || '0123456789abcdef01234567',
       {json_open}'{{"camera": "north", "truth": "' || (i % 10) || '"}}'{json_close},
       'digits', 'host/1:2:3', {zone}'2024-05-06 07:08:09.000000', 1
FROM n
"""


def main() -> None:
    """Fill a database with two jobs, run the commands."""
    made = parser(__doc__)
    made.add_argument("--database-url", default="", help="default: a SQLite file of its own")
    options = made.parse_args()
    rows = 20_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="classyard-bench-") as folder:
        home = Path(folder)
        url = options.database_url or f"sqlite:///{home}/bench.db"
        settings = read_settings(home=home, database_url=url)
        first, second = _fill(settings, rows)
        say(f"filled: two jobs of {rows:,} rows, {url.split(':')[0]}")
        figures = [_measure(settings, rows, words) for words in _commands(home, first, second)]
    conclude(options, figures)


def _commands(home: Path, first: str, second: str) -> Sequence[tuple[str, ...]]:
    files = [str(home / f"x.{ending}") for ending in ("csv", "jsonl", "parquet")]
    return [
        *(("export", first, "-o", file) for file in files),
        ("export", first, "-o", files[0], "--label", "3"),
        ("results", first, "--uncertain", "--format", "csv"),
        ("diff", first, second, "--json"),
        ("score", first, "--truth-column", "truth", "--json"),
    ]


def _fill(settings: Settings, rows: int) -> tuple[str, str]:
    database = open_database(settings.database)
    migrate(database)
    found = [str(database.write(_job, rows, shift)) for shift in (0, 1)]
    database.close()
    return found[0], found[1]


def _job(connection: Connection, rows: int, shift: int) -> int:
    """Insert an ended job by SQL."""
    job = jobs.create(connection, JobRequest("benchmark", "digits", "f" * 32, "classyard", 5))
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    statement = _ROWS.format(
        numbers=_NUMBERS[connection.dialect.name],
        json_open="CAST(" if postgresql else "",
        json_close=" AS json)" if postgresql else "",
        zone="TIMESTAMPTZ " if postgresql else "",
    )
    connection.execute(text(statement), {"job": job, "rows": rows, "shift": shift})
    ended = "UPDATE jobs SET status = 'completed', total = :rows, finished_at = created_at WHERE id = :job"
    connection.execute(text(ended), {"job": job, "rows": rows})
    return job


def _measure(settings: Settings, rows: int, words: Sequence[str]) -> Figure:
    """Run one command; return the most memory that it held."""
    output = settings.home / "out"
    into = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    started = time.monotonic()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "producer", *words],
        settings.as_environment(),
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, str(output), into, 0o600)],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    shown = [Path(word).name for word in words if not word.isdecimal()]
    return Figure(
        f"memory of {' '.join(shown)}, {rows:,} rows", usage.ru_maxrss / 1024, "MiB", TARGET,
        more_is_better=False, spread="n=1", note=f"{seconds:.1f} s",
    )  # fmt: skip


if __name__ == "__main__":
    main()
