"""Redis: messages lost on the way, server killed, wiped, hung, full; connections dropped."""

from __future__ import annotations

import resource
import threading
import time
from typing import TYPE_CHECKING

import pytest

from broker.app import make_app
from broker.sweep import sweep
from core.errors import BrokerError
from producer.submit import Desk
from tests.faults.checker import check, waiting
from tests.faults.lab import DEFAULT
from tests.faults.rows import first_postgresql, first_sqlite, sqlite
from tests.faults.servers import Proxy, eventually
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab

#: A sweep that never comes, and would find nothing lost: what the negative control runs with.
NO_SWEEP = {"sweep_interval": 10_000.0, "lost_after": 10_000.0}


def lose_messages(lab: Lab, n: int) -> None:
    """Let paused workers pop messages and die before they have noted them (the broker's gap)."""
    lost = 0
    for _ in range(4 * n):
        [idle] = lab.workers(1)
        lab.until(lambda: not waiting(lab), what="an empty queue")
        time.sleep(1.2)  # it now waits in BRPOP, and Redis answers a stopped process
        lab.freeze(idle)
        lab.put(lab.naps(4, 0.001), chunk_size=4)
        # On a busy machine its BRPOP may have ended just then: the message waits for the next.
        lost += eventually(lambda: not waiting(lab), 1)
        idle.kill()
        if lost == n:
            return
    raise AssertionError(f"only {lost} of {n} messages could be lost")


@sqlite
def test_f4_negative_control_without_the_sweep_the_checker_finds_the_loss(
    open_lab: Callable[..., Lab],
) -> None:
    lab = open_lab(**NO_SWEEP)
    lose_messages(lab, 1)
    lab.workers(1)
    time.sleep(3)
    found = check(lab, lab.jobs)
    assert found.lost == 4, "the checker cannot fail"
    assert not found.ok
    lab.write("F4 control", 1, found, "the sweep switched off: the checker must find the loss")


@first_postgresql
def test_f4_a_message_lost_between_redis_and_worker(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    lose_messages(lab, n)
    with lab.timed():
        lab.workers(1)
        lab.quiet()
    swept = lab.counter("chunks_swept")
    lab.verdict("F4", n, "message popped by a worker that dies before it noted it; swept")
    assert swept >= n


@pytest.mark.faults_full
def test_f4_a_worker_dies_between_message_and_claim(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    for number in range(n):
        victim = lab.dying_worker("before_claim", number + 1)
        lab.put(lab.naps(4, 0.001), chunk_size=4)
        victim.process.wait(120)
    with lab.timed():
        lab.workers(1)
        lab.quiet()  # not only once the visibility time-out, an hour, is over
    lab.verdict("F4p", n, "kill -9 of a worker that was handed a message and had not claimed it")


@pytest.mark.faults_full
@pytest.mark.parametrize("pause", [2, 30])
def test_f6_redis_killed_and_restarted(
    lab: Lab, pause: int, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20 if pause == 2 else 5)
    lab.workers(2)
    for _ in range(n):
        lab.keep_busy(6)
        lab.working()
        lab.redis.kill()
        time.sleep(pause)
        lab.redis.start()
        with lab.timed():
            lab.working(48)  # more than was in the children's hands
    lab.all_run()
    lab.verdict("F6", n, f"kill -9 of Redis (AOF), back after {pause} s; recovery: work goes on")


@first_sqlite
def test_f7_redis_wiped(open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 20)
    lab = open_lab(durable=False)
    lab.workers(1)
    for _ in range(n):
        lab.keep_busy(6)
        lab.working(10)
        lab.redis.kill()
        lab.redis.start()
        with lab.timed():
            lab.working(24)
    lab.all_run()
    lab.verdict("F7", n, "Redis killed, no persistence: every message gone")


@pytest.mark.faults_full
def test_f8_redis_hung_by_default_settings(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab = open_lab(**DEFAULT)
    lab.workers(2)
    refused = []
    for _ in range(n):
        lab.keep_busy(12)
        lab.working(50)
        lab.redis.hang()
        hung = time.monotonic()
        with pytest.raises(BrokerError):
            lab.put(lab.naps(8))
        refused.append(time.monotonic() - hung)
        assert refused[-1] < 15, "a submission must not hang with Redis"
        time.sleep(lab.settings.dead_after + 5 - refused[-1])  # and nobody looks dead meanwhile
        lab.redis.go_on()
        with lab.timed():
            lab.working(48, 90)
    lab.all_run()
    slowest = f"submit refused after {max(refused):.1f} s at most"
    found = lab.verdict("F8", n, f"SIGSTOP of Redis, 40 s, default settings; {slowest}")
    assert found.extra == 0, "live workers were taken for dead"


@pytest.mark.faults_full
def test_f9_connections_dropped(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(3, 20)
    lab.workers(2)
    lab.put(lab.naps(n * 250, 0.01))
    with lab.redis.client() as client:
        for _ in range(n):
            time.sleep(1)
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
    lab.verdict("F9", n, f"CLIENT KILL; {lab.counter('duplicates_dropped')} duplicates dropped")


@pytest.mark.faults_full
def test_f10_a_half_open_line_to_redis(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    lab = open_lab()
    proxy = Proxy(lab.redis.path)
    n = rounds(1, 5)
    try:
        lab.workers(1, CLASSYARD_BROKER_URL=f"redis://127.0.0.1:{proxy.port}/0")
        for _ in range(n):
            lab.put(lab.naps(24, 0.01))
            lab.quiet()
            proxy.deaf.set()
            time.sleep(0.2)
            lab.put(lab.naps(24, 0.01))
            time.sleep(1)
            proxy.deaf.clear()  # new lines are fine, the old ones stay dead
            with lab.timed():
                lab.quiet()
            assert lab.recoveries[-1] < 2 * 15 + 5 + 10
        lab.all_run()
        lab.verdict("F10", n, "TCP line to Redis swallows bytes without FIN")
    finally:
        proxy.close()


@pytest.mark.faults_full
def test_f11_redis_full(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    for number in range(1, n + 1):
        uris = lab.naps(40, 0.001)
        with lab.redis.client() as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(BrokerError, match=f"maxmemory.*Job {number} is saved"):
                lab.put(uris)
            time.sleep(2)  # workers live through it as well
            client.config_set("maxmemory", "512mb")
        with lab.timed():
            lab.jobs[number] = uris
            lab.finish(number)
    lab.all_run()
    lab.verdict("F11", n, "maxmemory reached, noeviction: submit says OOM, the job starts later")


@pytest.mark.faults_full
def test_f21_the_disk_under_redis_is_full(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    for _ in range(n):
        lab.keep_busy(6)
        lab.working()
        lab.redis.limit_files(1000)  # more than is there: the append-only file cannot grow
        lab.until(lab.redis.refuses, 30, "Redis to notice")
        lab.redis.limit_files(resource.RLIM_INFINITY)
        with lab.timed():
            lab.working(48)
    lab.all_run()
    lab.verdict("F21r", n, "the append-only file cannot grow: Redis refuses writes; then it can")


@pytest.mark.faults_full
def test_f25_many_sweepers_and_a_long_queue(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    lab.settings = lab.settings.model_copy(update={"window": 200})
    lab.desk = Desk(lab.desk.app, lab.desk.database, lab.settings)
    lab.put(lab.naps(600, 0.02), chunk_size=3)  # 200 messages: far longer than LOST_AFTER
    stop = threading.Event()
    deepest = sweeps = 0

    def sweep_again() -> None:
        nonlocal sweeps
        with Yard(lab.settings) as other:
            desk = Desk(make_app(lab.settings, patient=False), other.desk.database, lab.settings)
            while not stop.is_set():
                sweep(desk.app, desk.database, lab.settings)
                sweeps += 1

    sweepers = [threading.Thread(target=sweep_again) for _ in range(rounds(2, 4))]
    for sweeper in sweepers:
        sweeper.start()
    lab.workers(1)
    try:
        while not lab.finished():
            deepest = max(deepest, waiting(lab))
            time.sleep(0.1)
    finally:
        stop.set()
        for sweeper in sweepers:
            sweeper.join()
    swept = lab.counter("chunks_swept")
    note = f"{len(sweepers)} sweepers, 200 messages: {swept} taken for lost, deepest {deepest}"
    lab.verdict("F25", sweeps, note)
    assert swept == 0
    assert deepest <= 200


@pytest.mark.faults_full
def test_f29_all_workers_down_and_swept_without_any(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    for _ in range(n):
        lab.put(lab.naps(400, 0.01))
        workers = lab.workers(2)
        lab.until(lambda w=workers: any(map(lab.held, w)), what="work")
        for worker in workers:
            worker.kill()
        time.sleep(lab.settings.dead_after + 1)
        done = lab.command("sweep", "--json")
        assert done.code == 0, done.err
        with lab.timed():
            [last] = lab.workers(1)
            lab.quiet()
        last.kill()
    assert lab.counter("chunks_swept") >= n
    lab.verdict("F29", n, "all workers killed, 'classyard sweep', one started later")
