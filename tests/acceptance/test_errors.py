"""What goes wrong is one line that says what to do, with the right exit code, and in good time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from broker.embedded import embedded_redis, embedded_url
from core.settings import read_settings
from db.migrate import migrate
from db.session import open_database
from tests.support.broker import connect
from tests.support.record import Record
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.yard import Finished


DIGITS = ROOT / "producer" / "samples" / "digits"


@pytest.fixture
def bare(home: Path) -> Yard:
    """A machine where nothing runs; the stub engine stands for any model."""
    return Yard(read_settings(home=home, engine="stub", concurrency=1))


def one_line(done: Finished, code: int, *said: str) -> None:
    assert done.code == code, done.err
    assert done.err.startswith("classyard: ")
    assert done.err.count("\n") == 1, done.err
    assert done.out == ""
    for words in said:
        assert words in done.err


def jobs_in(yard: Yard) -> int:
    database = open_database(yard.settings.database)
    count = Record(database).sql("SELECT count(*) FROM jobs")[0][0]
    database.close()
    return int(count)


def test_formats_that_nothing_reads_keep_a_worker_from_starting(bare: Yard) -> None:
    with embedded_redis(bare.settings.home):
        done = bare.command("worker", CLASSYARD_FORMATS="JPEG,PNGG")
    assert done.code == 1
    assert "classyard worker: CLASSYARD_FORMATS: no PNGG; of: " in done.err, done.err
    done = bare.command("run", str(DIGITS), "--model", "digits", CLASSYARD_FORMATS="JPEG,PNGG")
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "the worker ends again and again: classyard worker: CLASSYARD_FORMATS: no PNGG" in last


def test_streams_that_are_closed_full_or_left_by_their_reader(bare: Yard) -> None:
    """Buffered or not: nothing but one line, and nothing at all where nobody reads any more."""
    command = f"{sys.executable} -m producer"
    for buffered in ("", "1"):
        for line, code, said in (
            ("jobs --json >&-", 0, ""),
            ("run - -m digits <&-", 2, "standard input names no image"),
            ("jobs --json >/dev/full", 1, "No space left on device"),
            ("jobs >/dev/full", 1, "No space left on device"),
            ("jobs --json | true; exit ${PIPESTATUS[0]}", 1, ""),
        ):
            done = subprocess.run(
                ["bash", "-c", f"{command} {line}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=bare.environment(PYTHONUNBUFFERED=buffered),
                cwd=ROOT,
                timeout=60,
                check=False,
            )
            assert done.returncode == code, (line, done.stderr)
            assert done.stderr == (f"classyard: {said}\n" if said else ""), line


def test_models_that_cannot_be_served(bare: Yard, tmp_path: Path) -> None:
    picture = "file:///a.jpg"
    done = bare.command("run", picture, "--model", "nosuch")
    one_line(
        done, 1, "no model 'nosuch' (known: digits, and those of keras.applications)", "model.toml"
    )
    weights = tmp_path / "mobilenet_v2" / "mobilenet_v2.weights.h5"
    place = {"CLASSYARD_MODELS_DIR": str(tmp_path), "KERAS_HOME": str(tmp_path / "keras")}
    for words in (("submit", picture), ("models", "check", "mobilenet_v2")):
        done = bare.command(*words, **place)
        one_line(done, 1, f"model 'mobilenet_v2' has no weights: put them at {weights}")
    weights.parent.mkdir()
    weights.write_text("<html>404 Not Found</html>")
    done = bare.command("run", picture, **place)
    one_line(done, 1, f"{weights}: not an HDF5 file")
    own = tmp_path / "own"
    own.mkdir()
    (own / "model.toml").write_text("[input]\nheight = 32\nwidht = 32\n")
    done = bare.command("run", picture, "--model", "own", **place)
    one_line(done, 1, "own/model.toml: input.widht: no such key")
    database = open_database(bare.settings.database)
    migrate(database)
    database.close()
    assert jobs_in(bare) == 0


def test_sources_that_cannot_be_read(bare: Yard, tmp_path: Path) -> None:
    manifest = tmp_path / "pictures.csv"
    manifest.write_text("uri,n\nhttp://a/1.jpg,1\nhttp://a/2.jpg\n")
    done = bare.command("run", str(manifest), "--model", "digits")
    one_line(done, 1, "pictures.csv", "line 3", "1 fields where the header has 2")
    (tmp_path / "empty").mkdir()
    done = bare.command("run", str(tmp_path / "empty"), "--model", "digits")
    one_line(done, 2, "no image in")
    assert jobs_in(bare) == 0
    done = bare.command("run", str(tmp_path / "nowhere"), "--model", "digits")
    one_line(done, 2, "nowhere does not exist")


@pytest.mark.parametrize(
    ("closed", "code"), [("<&-", 2), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)]
)
def test_standard_streams_that_are_closed(bare: Yard, closed: str, code: int) -> None:
    words = "submit - --model digits" if closed == "<&-" else "models"
    with embedded_redis(bare.settings.home):
        migrate(open_database(bare.settings.database))
        done = subprocess.run(
            f"{sys.executable} -m producer {words} {closed}", shell=True, cwd=ROOT, timeout=60,
            env=bare.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    if code:
        assert done.stderr == "classyard: standard input names no image\n"


def test_a_database_that_is_not_ready(bare: Yard, home: Path) -> None:
    done = bare.command("jobs", CLASSYARD_DATABASE_URL=f"sqlite:///{home}/other.db")
    one_line(done, 1, "run 'classyard migrate'")
    url = "postgresql://me:secret@127.0.0.1:1/yard"
    done = bare.command("status", "1", CLASSYARD_DATABASE_URL=url)
    one_line(done, 1, "cannot use the database postgresql", "127.0.0.1")
    assert "secret" not in done.err
    done = bare.command("status", "99")
    one_line(done, 1, "no job 99: 'classyard jobs' lists them")
    done = bare.command("jobs", CLASSYARD_HOME="/dev/null/yard")
    one_line(done, 1, "cannot make the database /dev/null/yard/classyard.db: Not a directory")
    Record(open_database(bare.settings.database)).change(
        "UPDATE alembic_version SET version_num = '9999'"
    )
    for command in ("jobs", "migrate"):
        one_line(bare.command(command), 1, "9999, newer than this version knows: use the Classyard")
    assert "run 'classyard migrate'" not in bare.command("doctor").out
    for place in home.glob("classyard.db*"):
        place.write_bytes(b"x" * 5000)
    one_line(bare.command("jobs"), 1, "file is not a database: restore a backup")


def test_a_misspelt_setting_is_found_by_the_doctor(bare: Yard) -> None:
    done = bare.command("doctor", CLASSYARD_CONCURENCY="2", COLUMNS="200")
    assert "CLASSYARD_CONCURENCY is no setting: CLASSYARD_CONCURRENCY is one" in done.out


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LEASE", "5", "must be shorter than"),
        ("CONCURRENCY", "many", "CLASSYARD_CONCURRENCY"),
        ("BROKER_URL", "redis://example.com", "without a password"),
    ],
)
def test_a_setting_that_cannot_be(bare: Yard, name: str, value: str, said: str) -> None:
    one_line(bare.command("jobs", **{f"CLASSYARD_{name}": value}), 1, "CLASSYARD_", said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("statsu 1", "no such command 'statsu'. Did you mean 'status'?"),
        ("submit", "missing argument 'SOURCE...'"),
        ("status one", "invalid value for 'JOB'"),
        ("status 99999999999999999999", "a number is larger than any database takes"),
        ("results 1 --lable x", "no such option: --lable (Possible options: --failed, --label)"),
        ("submit file:///a.jpg -m digits --priority urgent", "there are high, normal and low"),
        ("run a.jpg --top-k 0", "invalid value for '--top-k'"),
        ("results 1 --code nosuch", "no error code 'nosuch'"),
    ],
)
def test_usage(bare: Yard, line: str, said: str) -> None:
    one_line(bare.command(*line.split()), 2, said)


def test_no_command_at_all_prints_the_help(bare: Yard) -> None:
    done = bare.command()
    assert (done.code, done.err) == (2, "")
    assert "classify images now" in done.out.lower()


def test_without_redis_and_with_a_hung_one(bare: Yard, home: Path) -> None:
    begun = time.monotonic()
    done = bare.command("submit", "http://a/1.jpg", "--model", "digits")
    one_line(done, 1, "Redis does not answer", "classyard up")
    assert time.monotonic() - begun < 15
    with embedded_redis(home):
        with connect(embedded_url(home)) as client:
            server = int(client.info("server")["process_id"])
        os.kill(server, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            done = bare.command("submit", "http://a/1.jpg", "--model", "digits")
            one_line(done, 1, "Redis does not answer")
            assert time.monotonic() - begun < 15
        finally:
            os.kill(server, signal.SIGCONT)
    assert jobs_in(bare) == 0


def test_files_that_workers_will_refuse_are_told_at_once(bare: Yard, tmp_path: Path) -> None:
    """A list may come from a stranger; the user need not wait for a million rows to learn it."""
    listed = tmp_path / "lists" / "list.txt"
    listed.parent.mkdir()
    listed.write_text(f"{tmp_path}/a.jpg\n{tmp_path}/b.jpg\n")
    with embedded_redis(bare.settings.home):
        done = bare.command("submit", str(listed), "--model", "digits")
        allowed = bare.command("submit", str(listed), "--model", "digits", "--root", str(tmp_path))
    assert (done.code, done.out) == (0, "1\n")
    assert f"{tmp_path}/a.jpg is not below a folder of this job" in done.err
    assert f"allow them with --root {tmp_path}\n" in done.err
    assert (allowed.code, allowed.err) == (0, "")
