"""`classyard watch`: files submitted as they arrive, settled ones only, once each, through restarts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.embedded import embedded_redis
from core.errors import BrokerError, ModelError, UsageError
from core.settings import read_settings
from db import arrivals
from producer.arrivals import Arrivals, watched
from producer.request import job_request
from producer.sources import Sources
from producer.submit import Desk, Submission, submit
from tests.support.yard import Running, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.jobs import JobRequest

CATALOG = Path(__file__).parents[2] / "core" / "catalog"
QUICK = ("--model", "digits", "--settle", "0.4", "--every", "0.1")


@pytest.fixture(scope="module")
def open_yard() -> Iterator[Yard]:
    """A yard without a worker: what counts is what is submitted."""
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    with embedded_redis(home), Yard(read_settings(home=home, engine="stub")) as opened:
        yield opened
    shutil.rmtree(home, ignore_errors=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watching(
    at: Yard | Desk, folder: Path, clock: Clock, settle: float = 5, model: str = "digits"
) -> Arrivals:
    desk = at.desk if isinstance(at, Yard) else at

    def ask() -> JobRequest:
        return job_request(desk.settings, Sources(()), model, 1, [folder])

    return Arrivals(desk, watched(str(folder)), ask, settle, clock)


def limited(yard: Yard, **limits: int) -> Desk:
    return replace(yard.desk, settings=yard.settings.model_copy(update=limits))


def submitted(yard: Yard, folder: Path) -> list[str]:
    """Names of the files of the folder that were submitted, in all jobs."""
    chunks = yard.sql("SELECT uris FROM chunks ORDER BY id")
    uris = [uri for (text,) in chunks for uri in json.loads(text)]
    start = f"{folder.as_uri()}/"
    return sorted(uri.removeprefix(start) for uri in uris if uri.startswith(start))


def test_a_file_is_submitted_when_it_is_whole_and_once(open_yard: Yard, tmp_path: Path) -> None:
    clock = Clock()
    arriving = watching(open_yard, tmp_path, clock)
    assert arriving.look().submissions == ()
    (tmp_path / "a.jpg").write_bytes(b"half")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "trip.jpg").mkdir()
    assert arriving.look().waiting == 1
    clock.now = 4
    assert arriving.look().submissions == ()
    (tmp_path / "a.jpg").write_bytes(b"half and half")
    clock.now = 6
    assert arriving.look().waiting == 1  # it has changed: the time begins anew
    clock.now = 10
    assert arriving.look().submissions == ()
    clock.now = 11
    (done,) = arriving.look().submissions
    assert done.total == 1
    clock.now = 100
    assert arriving.look() == watching(open_yard, tmp_path, clock).look()
    assert submitted(open_yard, tmp_path) == ["a.jpg"]


def test_a_file_that_is_replaced_is_another(open_yard: Yard, tmp_path: Path) -> None:
    clock = Clock()
    arriving = watching(open_yard, tmp_path, clock, settle=0)
    for content in (b"first", b"another"):
        (tmp_path / "latest.jpg").write_bytes(content)
        assert arriving.look().waiting == 1
        assert [done.total for done in arriving.look().submissions] == [1]
    assert submitted(open_yard, tmp_path) == ["latest.jpg", "latest.jpg"]


@pytest.mark.parametrize("died", ["before the job", "after the job"])
def test_what_a_dead_watcher_had_claimed_is_submitted_once(
    died: str, open_yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    (tmp_path / "a.jpg").touch()
    first = watching(open_yard, tmp_path, clock, settle=0)
    first.look()
    lost = "producer.arrivals.submit" if died == "before the job" else "db.arrivals.submitted"

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lost, dies)
        with pytest.raises(KeyboardInterrupt):
            first.look()
    looks = [watching(open_yard, tmp_path, clock, settle=0).look() for _ in range(2)]
    assert [len(look.submissions) for look in looks] == [1, 0]
    assert submitted(open_yard, tmp_path) == ["a.jpg"]
    assert open_yard.desk.database.read(arrivals.unsubmitted, first.watch) == []


def test_a_model_that_is_replaced_serves_what_comes_then(open_yard: Yard, tmp_path: Path) -> None:
    own = open_yard.settings.models_path / "own"
    shutil.copytree(CATALOG / "digits", own)
    clock, folder = Clock(), tmp_path / "arrivals"
    folder.mkdir()
    arriving = watching(open_yard, folder, clock, settle=0, model="own")

    def submit_one(name: str) -> str:
        (folder / name).touch()
        arriving.look()
        (done,) = arriving.look().submissions
        return str(
            open_yard.sql(f"SELECT model_fingerprint FROM jobs WHERE id = {done.job_id}")[0][0]
        )

    before = submit_one("a.jpg")
    assert submit_one("b.jpg") == before
    (own / "labels.txt").write_text("\n".join("abcdefg7ij") + "\n")
    assert submit_one("c.jpg") != before
    (own / "model.toml").rename(own / "away")
    with pytest.raises(ModelError):
        submit_one("d.jpg")
    (own / "away").rename(own / "model.toml")
    (done,) = arriving.look().submissions
    assert done.total == 1


def test_two_watchers_share_the_files(open_yard: Yard, tmp_path: Path) -> None:
    clock = Clock()
    for number in range(5):
        (tmp_path / f"{number}.jpg").touch()
    both = [watching(open_yard, tmp_path, clock, settle=0) for _ in range(2)]
    for arriving in both * 2:
        arriving.look()
    assert submitted(open_yard, tmp_path) == [f"{number}.jpg" for number in range(5)]


def test_files_that_wait_are_bounded(
    open_yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.arrivals.MOST_WAITING", 3)
    for number in range(7):
        (tmp_path / f"{number}.jpg").touch()
    arriving = watching(open_yard, tmp_path, Clock(), settle=0)
    totals = []
    for _ in range(6):
        look = arriving.look()
        assert look.waiting <= 3
        totals += [done.total for done in look.submissions]
    assert sum(totals) == 7
    assert submitted(open_yard, tmp_path) == [f"{number}.jpg" for number in range(7)]


def test_no_batch_is_larger_than_a_job_may_be(open_yard: Yard, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").touch()
    arriving = watching(limited(open_yard, max_images=2), tmp_path, Clock(), settle=0)
    arriving.look()
    assert [done.total for done in arriving.look().submissions] == [2, 2, 1]


def test_what_was_submitted_before_a_look_failed_is_told_by_the_next(
    open_yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        (tmp_path / f"{number}.jpg").touch()
    arriving = watching(limited(open_yard, max_images=1), tmp_path, Clock(), settle=0)
    arriving.look()
    calls = []

    def fails_second(*given: Any) -> Submission:
        calls.append(given)
        if len(calls) == 2:
            raise BrokerError("away")
        return submit(*given)

    with monkeypatch.context() as patch:
        patch.setattr("producer.arrivals.submit", fails_second)
        with pytest.raises(BrokerError):
            arriving.look()
    assert [done.total for done in arriving.look().submissions] == [1, 1]
    assert arriving.look().submissions == ()


def test_folders_that_come_and_go_while_one_looks(
    open_yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "a.jpg").touch()
    arriving = watching(open_yard, tmp_path, Clock(), settle=0)
    scandir = os.scandir

    def gone(folder: str) -> Any:
        return scandir(f"{folder}/../none" if folder.endswith("gone") else folder)

    with monkeypatch.context() as patch:
        patch.setattr("producer.sources.folders.os.scandir", gone)
        assert arriving.look().waiting == 1
        assert [done.total for done in arriving.look().submissions] == [1]
    shutil.rmtree(tmp_path)
    with pytest.raises(UsageError, match="cannot read the folder"):
        arriving.look()
    (tmp_path / "here").mkdir(parents=True)
    (tmp_path / "here" / "b.jpg").touch()
    arriving.look()
    assert [done.total for done in arriving.look().submissions] == [1]


def test_the_command_waits_while_too_much_waits(open_yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    running = open_yard.start("watch", str(tmp_path), *QUICK, CLASSYARD_MAX_WAITING="1")
    (tmp_path / "b.jpg").write_bytes(b"x")
    open_yard.until(lambda: "images wait already" in running.log.read_text(), 20)
    assert running.process.poll() is None
    assert running.stop(signal.SIGINT) == 0


def start(yard: Yard, folder: Path, *words: str) -> Running:
    return yard.start("watch", str(folder), *QUICK, *words)


def test_the_command_through_kill_restart_and_ctrl_c(open_yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    running = start(open_yard, tmp_path)
    # Not before the job is whole: one that is half submitted is waited for, for half a minute.
    open_yard.until(lambda: "1 images" in running.log.read_text(), 20)
    running.kill()
    assert submitted(open_yard, tmp_path) == ["a.jpg"]
    (tmp_path / "deep").mkdir()
    os.link(tmp_path / "a.jpg", tmp_path / "deep" / "b.jpg")
    running = start(open_yard, tmp_path, "--json")
    open_yard.until(lambda: submitted(open_yard, tmp_path) == ["a.jpg", "deep/b.jpg"], 20)
    open_yard.until(lambda: '{"job_id"' in running.log.read_text(), 20)
    assert running.stop(signal.SIGINT) == 0
    said = running.log.read_text()
    assert "Traceback" not in said
    assert "stopped" in said
    assert "1 images in 1 jobs" in said


def test_once_ends_by_itself_and_bad_names_at_once(open_yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    done = open_yard.command("watch", str(tmp_path), *QUICK, "--once", "--json", "--embeddings")
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    record = json.loads(line)
    assert (record["total"], record["waiting"]) == (1, 0)
    statement = "SELECT name, options FROM jobs WHERE id = :id"
    ((name, options),) = open_yard.sql(statement, id=record["job_id"])
    assert name.startswith("watch /")
    assert json.loads(options)["embeddings"] is True
    done = open_yard.command("watch", str(tmp_path / "none"), *QUICK)
    assert done.code == 2
    assert "is no folder" in done.err
