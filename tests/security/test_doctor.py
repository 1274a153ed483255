"""Doctor tells a worker that works from one that merely lives."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from producer.doctor import examine, examine_worker, safe_release
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def yard(home: Path, database_url: str, broker_url: str) -> Iterator[Yard]:
    settings = read_settings(
        home=home, database_url=database_url, broker_url=broker_url, engine="stub", concurrency=1,
        heartbeat=1, grace=1, dead_after=4, lost_after=1, sweep_interval=1,
    )  # fmt: skip
    with Yard(settings) as opened:
        yield opened


def verdict(yard: Yard) -> tuple[bool, str]:
    finding = examine_worker(yard.settings)
    return finding.ok, finding.text


def exit_code(yard: Yard) -> int:
    done = yard.command("doctor", "--worker", "--json")
    (finding,) = json.loads(done.out)
    assert finding["ok"] == (done.code == 0)
    return done.code


def test_packages_that_a_setting_needs_are_looked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(home=home, schemes="file,s3,gs", formats="PNG,HEIC")

    def found() -> dict[str, tuple[bool, str]]:
        return {one.subject: (one.ok, one.text) for one in examine(settings)}

    assert found()["s3"] == (True, "s3fs")
    assert found()["heic"] == (True, "pillow_heif")
    monkeypatch.setattr("producer.doctor.find_spec", lambda name: "PIL" if name == "PIL" else None)
    assert found()["gs"] == (False, "gcsfs is missing: pip install 'classyard[gs]'")
    assert not found()["heic"][0]
    assert "az" not in found()


def test_a_worker_that_is_stopped_is_not_healthy(yard: Yard) -> None:
    well, said = verdict(yard)
    assert (well, "gave a sign of life" in said) == (False, True)
    worker = yard.worker()
    assert verdict(yard)[0]
    family = [worker.pid, *worker.children()]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    yard.submit(["stub://a"])
    yard.until(lambda: not verdict(yard)[0], 30, "the verdict")
    assert exit_code(yard) == 1
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    yard.until(lambda: verdict(yard)[0], 30, "the recovery")
    assert exit_code(yard) == 0


def test_a_worker_that_lives_but_takes_nothing_is_not_healthy(yard: Yard) -> None:
    yard.worker()
    # What a worker with a lost subscription looks like: it beats, it answers, it consumes nothing.
    yard.until(
        lambda: yard.desk.app.control.cancel_consumer("classyard", reply=True, timeout=5, limit=1),
        what="the worker's answer",
    )
    time.sleep(4.5)
    assert verdict(yard)[0], "idle is healthy"
    job = yard.submit(["stub://a"])
    assert verdict(yard)[0], "a chunk that has just come may wait"
    yard.until(lambda: not verdict(yard)[0], 30, "the verdict")
    assert "took no chunk for 4 s, though chunks wait: restart it" in verdict(yard)[1]
    whole = yard.command("doctor")
    assert whole.code == 1
    assert "restart it" in whole.out.replace("\n", " ")
    yard.desk.app.control.add_consumer("classyard", reply=True, timeout=5)
    assert yard.finish(job) == "completed"
    assert verdict(yard)[0]


@pytest.mark.parametrize(
    ("version", "least"),
    [("6.2.14", "6.2.20"), ("6.2.20", ""), ("5.0.1", "6.2.20"), ("7.0.15", "7.2.11"),
     ("7.2.11", ""), ("7.4.5", "7.4.6"), ("8.0.1", "8.2.2"), ("8.2.2", ""), ("8.4.0", "")],
)  # fmt: skip
def test_releases_of_redis_with_known_holes(version: str, least: str) -> None:
    assert safe_release(version) == least
