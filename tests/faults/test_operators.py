"""What operators and submitters do: kill a submission, skew a clock, attach a stuck Flower, supervise."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import Lab
from tests.faults.rows import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = ("after_job_tx", "mid_submit", "before_publish", "mid_publish", "after_publish")


def submit_and_die(lab: Lab, point: str, key: str, uris: list[str]) -> None:
    source = lab.settings.home / f"{key}.txt"
    source.write_text("\n".join(uris))
    submitter = lab.launch(
        "tests.faults.crashpoint", point, "100000", "producer", "submit", str(source),
        "--model", "digits", "--key", key, "--chunk-size", "4",
    )  # fmt: skip
    assert submitter.process.wait(30) == -signal.SIGKILL, submitter.log.read_text()


@pytest.mark.faults_full
@sqlite
@pytest.mark.parametrize("point", POINTS)
def test_f12_a_killed_submission_is_whole_or_submitted_again(
    lab: Lab, point: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    for number in range(n):
        key = f"{point}-{number}"
        uris = lab.naps(400, 0.0001)
        submit_and_die(lab, point, key, uris)
        with lab.timed():
            job = lab.put(uris, 4, key)  # the same key: the same job, or a new one, never two
            lab.finish(job, 60)
        assert lab.sql("SELECT count(*) FROM jobs WHERE key = :key", key=key)[0][0] == 1
    lab.verdict("F12", n, f"kill -9 of the submitter {point}, submitted again under its key")


@pytest.mark.faults_full
@pytest.mark.parametrize("point", ["clock_ahead", "clock_behind"])
def test_f22_a_worker_whose_clock_is_wrong(lab: Lab, point: str) -> None:
    lab.workers(1)
    lab.dying_worker(point, 1)
    lab.put(lab.naps(1200, 0.01))
    found = lab.verdict("F22", 1, f"one of two workers ten minutes {point.partition('_')[2]}")
    assert found.extra == 0, "a live worker was taken for dead"


@pytest.mark.faults_full
@sqlite
def test_f23_up_starts_a_killed_worker_again(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 4)
    lab.start("up")
    lab.until(lambda: lab.sql("SELECT 1 FROM workers"), what="the worker")
    lab.put(lab.naps(n * 400, 0.01))
    for _ in range(n):
        lab.until(lambda: lab.sql("SELECT 1 FROM chunks WHERE status = 'running'"), what="work")
        [(worker, pid)] = lab.sql("SELECT id, pid FROM workers ORDER BY started_at DESC LIMIT 1")
        os.kill(pid, signal.SIGKILL)
        with lab.timed():
            lab.until(
                lambda worker=worker: lab.sql(
                    "SELECT 1 FROM chunks WHERE status = 'running' AND worker <> :w", w=worker
                ),
                what="the next worker's first chunk",
            )
    lab.verdict("F1u", n, "kill -9 of the worker of 'classyard up': it starts another")


@pytest.mark.faults_full
@sqlite
@pytest.mark.timeout(300)
def test_f30_a_stuck_flower_costs_nothing(lab: Lab) -> None:
    pytest.importorskip("flower")
    lab.workers(2)
    seconds: dict[str, list[float]] = {"without": [], "stuck": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    flower = lab.start("flower", CLASSYARD_FLOWER_PORT=port)
    lab.until(lambda: answers(int(port)), 60, "Flower")
    for _ in range(3):
        for state, signum in (("without", signal.SIGCONT), ("stuck", signal.SIGSTOP)):
            os.kill(flower.pid, signum)
            started = time.monotonic()
            lab.finish(lab.put(lab.naps(2000, 0), 4))
            seconds[state].append(time.monotonic() - started)
    os.kill(flower.pid, signal.SIGCONT)
    costs = {state: round(min(taken), 2) for state, taken in seconds.items()}
    lab.verdict("F30", 3, f"SIGSTOP of Flower; best of 3, seconds: {json.dumps(costs)}")
    assert costs["stuck"] < costs["without"] * 1.25


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
