"""The nemesis: faults of several families in random order under load, from one printed seed."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from tests.faults.rows import first_postgresql
from tests.faults.test_database import kill_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab
    from tests.support.yard import Running


@first_postgresql
def test_random_faults_lose_nothing(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    seconds = float(os.environ.get("CLASSYARD_TEST_NEMESIS_SECONDS", rounds(5, 300)))
    lab.workers(2)
    done: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lab.keep_busy()
        name = lab.random.choice([name for name, fault in FAULTS.items() if possible(lab, fault)])
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
    worker = alive(lab)
    assert worker.stop(seconds=120) == 0, worker.log.read_text()[-5000:]


def kill_child(lab: Lab) -> None:
    children = alive(lab).children()
    if children:
        os.kill(lab.random.choice(children), signal.SIGKILL)


def pause_worker(lab: Lab) -> None:
    everyone = lab.freeze(alive(lab))
    time.sleep(lab.settings.dead_after + 1.5)
    lab.thaw(everyone)


def restart_redis(lab: Lab) -> None:
    lab.redis.kill()
    time.sleep(lab.random.uniform(0, 2))
    lab.redis.start()


def drop_connections(lab: Lab) -> None:
    with lab.redis.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)


def possible(lab: Lab, fault: Callable[[Lab], object]) -> bool:
    return fault is not kill_backends or lab.database_kind == "postgresql"


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
