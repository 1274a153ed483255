"""Results with the real commands: printed, written whole or not at all, compared, scored, pruned."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from worker.stub import expected

if TYPE_CHECKING:
    from tests.support.yard import Finished, Yard

ROOT = Path(__file__).parents[2]
LABELS = [str(digit) for digit in range(10)]
URIS = [f"https://example.org/{number}.jpg" for number in range(40)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images with their truth, of which every fourth is wrong, and two that fail."""
    path = tmp_path_factory.mktemp("manifest") / "photos.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["uri", "camera", "digit"])
        for number, uri in enumerate(URIS):
            truth = (expected(uri, LABELS) + (number % 4 == 0)) % 10
            writer.writerow([uri, "north" if number < 10 else "south", truth])
        writer.writerow(["stub://fail/empty/1", "north", "1"])
        writer.writerow(["stub://fail/http_429/2", "south", "1"])
    return path


def ok(done: Finished) -> str:
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    return done.out


def refused(done: Finished, *words: str) -> None:
    """One line on standard error that says what is wrong."""
    assert done.code in {1, 2}
    assert done.err.startswith("classyard: ")
    assert done.err.count("\n") == 1, done.err
    for word in words:
        assert word in done.err


def test_a_job_is_printed_exported_compared_scored_and_pruned(
    yard: Yard, manifest: Path, tmp_path: Path
) -> None:
    yard.worker()
    job, again = (
        str(json.loads(ok(yard.command(
            "submit", str(manifest), "--model", "digits", "--top-k", "3", "--json", *words
        )))["job_id"])
        for words in (["--truth-column", "digit"], [])
    )  # fmt: skip
    assert {yard.finish(int(job)), yard.finish(int(again))} == {"completed_with_errors"}

    south = ["--where", "camera=south", "--status", "ok", "--min-margin", "0.2"]
    lines = ok(yard.command("results", job, "--json", *south)).splitlines()
    assert [json.loads(line)["uri"] for line in lines] == URIS[10:]
    assert len(ok(yard.command("results", job, "--uncertain", "-n", "3")).splitlines()) == 4

    for ending in ("csv", "parquet"):
        ok(yard.command("export", job, "-o", f"x.{ending}", cwd=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.parquet"]
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert len(rows) == len(table) == 42
    assert [row["label"] for row in rows[:40]] == [str(expected(uri, LABELS)) for uri in URIS]
    assert [row["camera"] for row in rows] == [row["camera"] for row in table]
    assert [len(row["predictions"] or ()) for row in table] == [3] * 40 + [0] * 2

    same = json.loads(ok(yard.command("diff", job, again, "--json")))
    assert (same["compared"], same["agreement"], same["failed_both"]) == (40, 1, 2)
    found = json.loads(ok(yard.command("score", job, "--json")))
    assert (found["scored"], found["failed"], found["top_1"]) == (40, 2, 0.75)

    old = json.loads(ok(yard.command("prune", "--before", "0h", "--dry-run", "--json")))
    assert [found["results"] for found in old["jobs"]] == [42, 42]
    assert yard.sql("SELECT count(*) FROM results")[0][0] == 84
    ok(yard.command("prune", "--before", "0h", "--yes"))
    assert all(
        yard.sql(f"SELECT count(*) FROM {t}")[0][0] == 0 for t in ("jobs", "chunks", "results")
    )


@pytest.fixture
def full(home: Path, broker_url: str) -> Yard:
    """A SQLite yard whose job 1 has ended with 30,000 rows."""
    from core.settings import read_settings
    from tests.support.answers import Image, add_job
    from tests.support.yard import Yard

    url = f"sqlite:///{home}/test.db"
    opened = Yard(read_settings(home=home, database_url=url, broker_url=broker_url, engine="stub"))
    with opened:
        add_job(
            opened.desk.database,
            [Image(f"https://example.org/{n}.jpg", {"1": 0.5, "2": 0.25}) for n in range(30_000)],
        )
    return opened


def test_a_file_is_whole_or_not_there(full: Yard, tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    refused(full.command("export", "1", "-o", str(tmp_path / "no" / "x.csv")), "no folder")
    refused(full.command("export", "1", "-f", "csv", "-o", str(tmp_path)), "is a folder")
    refused(full.command("export", "7", "-o", str(target)), "no job 7")
    refused(full.command("prune", "--before", "0h"), "--yes")
    assert list(tmp_path.iterdir()) == []
    target.write_text("as it was")
    # A limit on the size of files ends a write in the middle, as a full disk does.
    for ending in ("csv", "parquet"):
        done = limited(full, str(tmp_path / f"x.{ending}"))
        assert done.returncode == 1
        assert re.fullmatch(r"classyard: cannot write .*: File too large\n", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert target.read_text() == "as it was"
    before = os.umask(0o027)
    try:
        ok(full.command("export", "1", "-o", str(target)))
    finally:
        os.umask(before)
    assert target.read_text().count("\n") == 30_001
    assert target.stat().st_mode & 0o777 == 0o640


def limited(yard: Yard, target: str) -> subprocess.CompletedProcess[str]:
    """Export while no file may grow beyond 100 kB."""
    hundred = 100_000
    return subprocess.run(
        [sys.executable, "-m", "producer", "export", "1", "-o", target],
        env=yard.environment(),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hundred, hundred)),
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(
    full: Yard, tmp_path: Path, signum: signal.Signals
) -> None:
    running = full.start("export", "1", "-o", str(tmp_path / "x.jsonl"))
    full.until(lambda: list(tmp_path.glob(".classyard-*")), what="the part of a file")
    assert running.stop(signum) == 130
    said = running.log.read_text()
    assert re.fullmatch(r"classyard: interrupted; .*x\.jsonl was not written\n", said)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_what_to_install(full: Yard, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    target = str(tmp_path / "x.parquet")
    done = full.command("export", "1", "-o", target, PYTHONPATH=str(tmp_path))
    refused(done, "pip install 'classyard[parquet]'")
    assert not Path(target).exists()


def test_the_example_of_the_python_page_runs(tmp_path: Path, home: Path, manifest: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "photos.csv").write_bytes(manifest.read_bytes())
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "example.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CLASSYARD_HOME": str(home),
             "CLASSYARD_ENGINE": "stub"},
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "completed_with_errors 40 ok 2 failed" in done.stdout
    assert "top-1 0.75" in done.stdout
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 43


def test_the_api_is_typed_small_and_costs_nothing_to_import() -> None:
    code = (
        "import sys, producer\n"
        "print([name for name in ('sqlalchemy', 'celery', 'pydantic', 'typer') if name in sys.modules])\n"
        "print(all(getattr(producer, name) for name in producer.__all__))\n"
        "print([name for name in ('typer', 'pyarrow', 'tensorflow') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n") == ["[]", "True", "[]", ""]
