"""Stopping a worker: in the middle of work, of its start and of other faults; always clean."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.rows import first_postgresql, first_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab


@first_postgresql
def test_f14_a_rolling_restart_burns_no_attempts(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    lab.workers(2)
    for number in range(n):
        lab.keep_busy()
        leaving = lab.processes[number]
        lab.until(lambda leaving=leaving: lab.held(leaving), what="a chunk in work")
        with lab.timed():
            assert leaving.stop(seconds=120) == 0
        lab.workers(1)
    found = lab.verdict("F14", n, "SIGTERM, one worker after the other; recovery: exit")
    assert found.extra == 0


@pytest.mark.faults_full
def test_f14_a_long_chunk_is_handed_back_within_the_grace_time(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab.put(lab.naps(200, 0.3), chunk_size=100)  # half a minute
    for _ in range(n):
        [leaving] = lab.workers(1)
        lab.until(lambda leaving=leaving: lab.held(leaving), what="a chunk in work")
        with lab.timed():
            assert leaving.stop(seconds=120) == 0
        assert lab.recoveries[-1] < lab.settings.grace + 30
        assert not lab.sql("SELECT 1 FROM chunks WHERE status = 'running' OR attempts > 0")
    lab.workers(1)
    assert lab.verdict("F14g", n, "SIGTERM in a chunk longer than GRACE; recovery: exit").extra == 0


@first_sqlite
def test_f14_a_child_lost_before_redis_answers_does_not_end_the_worker(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    """Celery takes it for a pool that cannot start: the worker ended with 1, also when told to stop."""
    n = rounds(1, 5)
    for _ in range(n):
        lab.redis.kill()
        [young] = lab.workers(1)
        lab.until(lambda young=young: len(young.children()) == 2, what="its children")
        os.kill(lab.random.choice(young.children()), signal.SIGKILL)
        lab.redis.start()
        lab.put(lab.naps(16, 0.001))
        lab.quiet()
        assert young.stop(seconds=120) == 0, young.log.read_text()[-4000:]
        assert not lab.sql("SELECT 1 FROM workers")
    lab.workers(1)
    lab.verdict("F14c", n, "kill -9 of a child while its worker waits for Redis at start; SIGTERM")


@pytest.mark.faults_full
@pytest.mark.parametrize("signals", [(signal.SIGQUIT,), (signal.SIGINT, signal.SIGINT)])
def test_f15_a_cold_stop_loses_nothing(
    lab: Lab, signals: tuple[int, ...], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    for _ in range(n):
        lab.keep_busy()
        [victim] = lab.workers(1)
        lab.until(lambda victim=victim: lab.held(victim), what="a chunk in work")
        for signum in signals:
            victim.process.send_signal(signum)
            time.sleep(0.3)
        victim.process.wait(120)
    lab.workers(1)
    lab.verdict("F15", n, "SIGQUIT" if len(signals) == 1 else "SIGINT twice")


@pytest.mark.faults_full
def test_f8_a_worker_can_be_stopped_while_redis_hangs(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    """Celery would repeat a heartbeat for Flower for ever, and then wait for each last word."""
    n = rounds(2, 10)
    lab.workers(1)
    for _ in range(n):
        lab.keep_busy()
        [leaving] = lab.workers(1)
        lab.until(lambda leaving=leaving: lab.held(leaving), what="a chunk in work")
        lab.redis.hang()
        time.sleep(lab.random.uniform(0, 3))
        with lab.timed():
            assert leaving.stop(seconds=200) == 0, leaving.log.read_text()[-4000:]
        assert lab.recoveries[-1] < lab.settings.grace + 40
        lab.redis.go_on()
        assert not lab.sql("SELECT 1 FROM workers WHERE pid = :pid", pid=leaving.pid)
    assert lab.processes[0].process.poll() is None
    lab.verdict("F8s", n, "SIGSTOP of Redis, SIGTERM of a worker; recovery: exit")
