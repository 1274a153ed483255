"""What operators and submitters do: kill a submission, skew a clock, attach a stuck Flower, supervise."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab

POINTS = ("after_job_tx", "mid_submit", "before_publish", "mid_publish", "after_publish")


def submit_and_die(lab: Lab, point: str, key: str, uris: list[str]) -> None:
    source = lab.settings.home / f"{key}.txt"
    source.write_text("\n".join(uris))
    submitter = lab.launch(
        "tests.faults.crashpoint", point, "100000", "producer", "submit", str(source),
        "--model", "digits", "--key", key, "--chunk-size", "4",
    )  # fmt: skip
    assert submitter.process.wait(120) == -signal.SIGKILL, submitter.log.read_text()


@pytest.mark.faults_full
@pytest.mark.parametrize("point", POINTS)
def test_f12_a_killed_submission_is_whole_or_submitted_again(
    lab: Lab, point: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 10)
    lab.workers(1)
    killed = {f"{point}-{number}": lab.naps(400, 0.0001) for number in range(n)}
    for key, uris in killed.items():
        submit_and_die(lab, point, key, uris)
    # Then all of them again: a submission is taken for dead after half a minute of silence.
    for key, uris in killed.items():
        with lab.timed():
            job = lab.put(uris, 4, key)  # the same key: the same job, or a new one, never two
            lab.finish(job, 60)
        assert lab.sql("SELECT count(*) FROM jobs WHERE key = :key", key=key)[0][0] == 1
    lab.verdict("F12", n, f"kill -9 of the submitter {point}, submitted again under its key")


@pytest.mark.faults_full
@pytest.mark.parametrize("point", ["clock_ahead", "clock_behind"])
def test_f22_a_worker_whose_clock_is_wrong(
    lab: Lab, point: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    for _ in range(n):
        skewed = lab.dying_worker(point, 1)
        lab.put(lab.naps(800, 0.01))
        lab.until(lambda skewed=skewed: lab.held(skewed), what="a chunk of the skewed worker")
        lab.quiet()
        assert skewed.stop(seconds=120) == 0
    found = lab.verdict("F22", n, f"one of two workers ten minutes {point.partition('_')[2]}")
    assert found.extra == 0, "a live worker was taken for dead"


@pytest.mark.faults_full
def test_f1_up_starts_a_killed_worker_again(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    lab.start("up")
    lab.until(lambda: lab.sql("SELECT 1 FROM workers"), what="the worker")
    for _ in range(n):
        lab.keep_busy()
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
    note = "kill -9 of the worker of 'classyard up': it starts another, each time later"
    lab.verdict("F1u", n, note)


@pytest.mark.faults_full
def test_f30_a_stuck_flower_costs_nothing(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(3, 5)
    pytest.importorskip("flower")
    lab.workers(2)
    seconds: dict[str, list[float]] = {"running": [], "stuck": []}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    flower = lab.start("flower", CLASSYARD_FLOWER_PORT=port)
    lab.until(lambda: answers(int(port)), 60, "Flower")
    for _ in range(n):
        for state, signum in (("running", signal.SIGCONT), ("stuck", signal.SIGSTOP)):
            os.kill(flower.pid, signum)
            started = time.monotonic()
            lab.finish(lab.put(lab.naps(2000, 0), 4))
            seconds[state].append(time.monotonic() - started)
    os.kill(flower.pid, signal.SIGCONT)
    best = {state: min(taken) for state, taken in seconds.items()}
    costs = f"{best['stuck']:.1f} s for 2,000 images, {best['running']:.1f} s with Flower running"
    lab.verdict("F30", n, f"SIGSTOP of Flower; best of {n}: {costs}")
    assert best["stuck"] < best["running"] * 1.5  # the machine is shared


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
