"""The nemesis: faults of several families in random order under load, from one printed seed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.faults.test_database import plain_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab
    from tests.support.yard import Running


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_random_faults_lose_nothing(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    seconds = float(os.environ.get("CLASSYARD_TEST_NEMESIS_SECONDS", rounds(5, 120)))
    lab.workers(2)
    lab.put(lab.naps(int(seconds * 40), 0.01))
    done: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        name = lab.random.choice(list(FAULTS))
        FAULTS[name](lab)
        done.append(name)
        time.sleep(lab.random.uniform(0.2, 1.5))
        while sum(worker.process.poll() is None for worker in lab.processes) < 2:
            lab.workers(1)
    found = lab.verdict("nemesis", len(done), f"{seconds:.0f} s: {tally(done)}")
    print(f"{len(done)} faults, {found}")


def kill_worker(lab: Lab) -> None:
    alive(lab).kill()


def stop_worker(lab: Lab) -> None:
    assert alive(lab).stop(seconds=20) == 0


def kill_child(lab: Lab) -> None:
    children = alive(lab).children()
    if children:
        os.kill(lab.random.choice(children), signal.SIGKILL)


def pause_worker(lab: Lab) -> None:
    worker = alive(lab)
    everyone = [worker.pid, *worker.children()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(lab.settings.dead_after + 1.5)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)


def restart_redis(lab: Lab) -> None:
    lab.redis.kill()
    time.sleep(lab.random.uniform(0, 2))
    lab.redis.start()


def drop_connections(lab: Lab) -> None:
    with lab.redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


def kill_backends(lab: Lab) -> None:
    with psycopg.connect(plain_url(lab), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def alive(lab: Lab) -> Running:
    return lab.random.choice([w for w in lab.processes if w.process.poll() is None])


def tally(names: list[str]) -> str:
    return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))


FAULTS = {
    "kill_worker": kill_worker,
    "stop_worker": stop_worker,
    "kill_child": kill_child,
    "pause_worker": pause_worker,
    "restart_redis": restart_redis,
    "drop_connections": drop_connections,
    "kill_backends": kill_backends,
}
