"""Redis: messages lost on the way, server killed, wiped, hung, full; connections dropped."""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from broker.app import make_app
from core.errors import BrokerError
from producer.submit import Desk
from tests.faults.checker import check, waiting
from tests.faults.rows import first_postgresql, sqlite
from tests.faults.servers import Proxy, eventually
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab
    from tests.support.yard import Running

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
    n = rounds(1, 5)
    lose_messages(lab, n)
    with lab.timed():
        lab.workers(1)
        lab.quiet()
    lab.verdict("F4", n, f"{lab.counter('chunks_swept')} messages lost and swept")
    assert lab.counter("chunks_swept") >= n


@pytest.mark.faults_full
@sqlite
def test_f4_a_worker_dies_between_message_and_claim(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    for number in range(n):
        lab.put(lab.naps(4, 0.001), chunk_size=4)
        victim = lab.dying_worker("before_claim", number + 1)
        victim.process.wait(20)
    with lab.timed():
        lab.workers(1)
        lab.quiet()  # not only once the visibility time-out, an hour, is over
    lab.verdict("F4p", n, "kill -9 of a worker that was handed a message and had not claimed it")


@pytest.mark.faults_full
@pytest.mark.timeout(400)
@pytest.mark.parametrize("pause", [2, 15])
def test_f6_redis_killed_and_restarted(
    lab: Lab, pause: int, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 10 if pause == 2 else 2)
    running = lab.workers(2)
    for _ in range(n):
        lab.keep_busy(6)
        before = lab.rows()
        lab.until(lambda before=before: lab.rows() > before + 20, what="work")
        lab.redis.kill()
        time.sleep(pause)
        lab.redis.start()
        with lab.timed():
            before = lab.rows() + 20  # more than was in the children's hands
            lab.until(lambda before=before: lab.rows() > before or finished(lab), 60, "work")
    assert_running(running)
    lab.verdict("F6", n, f"kill -9 of Redis (AOF), back after {pause} s; recovery: work goes on")


@sqlite
def test_f7_redis_wiped(open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 10)
    lab = open_lab(durable=False)
    running = lab.workers(1)
    for _ in range(n):
        lab.keep_busy(6)
        before = lab.rows()
        lab.until(lambda before=before: lab.rows() > before + 10, what="work")
        lab.redis.kill()
        lab.redis.start()
        with lab.timed():
            before = lab.rows() + 20
            lab.until(lambda before=before: lab.rows() > before or finished(lab), 60, "work")
    assert_running(running)
    lab.verdict("F7", n, "Redis killed, no persistence: every message gone")


@sqlite
@pytest.mark.faults_full
@pytest.mark.timeout(300)
def test_f8_redis_hung_by_default_settings(open_lab: Callable[..., Lab]) -> None:
    lab = open_lab(heartbeat=10, dead_after=35, sweep_interval=15, lost_after=60, grace=20)
    running = lab.workers(2)
    lab.put(lab.naps(3000, 0.01))
    lab.until(lambda: lab.rows() > 50, what="work")
    lab.redis.hang()
    hung = time.monotonic()
    with pytest.raises(BrokerError):
        lab.put(lab.naps(8))
    refused = time.monotonic() - hung
    assert refused < 15, "a submission must not hang with Redis"
    lab.jobs = {job: uris for job, uris in lab.jobs.items() if len(uris) != 8}
    time.sleep(60 - refused)  # longer than DEAD_AFTER
    silent = lab.sql("SELECT min(last_seen) FROM workers")  # nobody looks dead meanwhile
    assert silent
    lab.redis.go_on()
    with lab.timed():
        before = lab.rows() + 20
        lab.until(lambda: lab.rows() > before or finished(lab), 90, "work")
    assert_running(running)
    lab.verdict(
        "F8", 1, f"SIGSTOP of Redis, 60 s, default settings; submit refused in {refused:.1f} s"
    )


@sqlite
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


@sqlite
@pytest.mark.faults_full
def test_f10_a_half_open_line_to_redis(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    lab = open_lab()
    proxy = Proxy(lab.redis.path)
    n = rounds(1, 2)
    try:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        [worker] = lab.workers(1, CLASSYARD_BROKER_URL=url)
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
        assert worker.process.poll() is None
        lab.verdict("F10", n, "TCP line swallows bytes without FIN")
    finally:
        proxy.close()


@sqlite
@pytest.mark.faults_full
def test_f11_redis_full(lab: Lab) -> None:
    with lab.redis.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(BrokerError, match=r"OOM|maxmemory"):
            lab.put(lab.naps(40, 0.001))
        [(job, total)] = lab.sql("SELECT id, total FROM jobs") or [(0, 0)]
        assert not total or lab.sql("SELECT 1 FROM chunks WHERE status = 'pending'")
        client.config_set("maxmemory", "512mb")
    if job:  # saved before Redis refused: it starts by itself
        uris = [row.uris for row in lab.sql("SELECT uris FROM chunks ORDER BY seq")]
        flat = itertools.chain(*(json.loads(u) if isinstance(u, str) else u for u in uris))
        lab.jobs[job] = list(flat)
    else:
        lab.put(lab.naps(40, 0.001))
    with lab.timed():
        lab.workers(1)
        lab.quiet()
    lab.verdict("F11", 1, "maxmemory reached, noeviction: submit says OOM")


@pytest.mark.faults_full
@pytest.mark.timeout(400)
def test_f25_many_sweepers_and_a_long_queue(lab: Lab) -> None:
    lab.settings = lab.settings.model_copy(update={"window": 200})
    lab.desk = Desk(lab.desk.app, lab.desk.database, lab.settings)
    lab.put(lab.naps(600, 0.02), chunk_size=3)  # 200 messages: far longer than LOST_AFTER
    stop = threading.Event()
    deepest = [0]

    def sweep_again() -> None:
        with Yard(lab.settings) as other:
            desk = Desk(make_app(lab.settings, patient=False), other.desk.database, lab.settings)
            from broker.sweep import sweep

            while not stop.is_set():
                sweep(desk.app, desk.database, lab.settings)

    sweepers = [threading.Thread(target=sweep_again) for _ in range(4)]
    for sweeper in sweepers:
        sweeper.start()
    lab.workers(1)
    try:
        while not finished(lab):
            deepest[0] = max(deepest[0], waiting(lab))
            time.sleep(0.1)
    finally:
        stop.set()
        for sweeper in sweepers:
            sweeper.join()
    swept = lab.counter("chunks_swept")
    lab.verdict("F25", 4, f"4 sweepers, 200 messages: {swept} taken for lost, deepest {deepest[0]}")
    assert swept == 0
    assert deepest[0] <= 200


@sqlite
@pytest.mark.faults_full
def test_f29_all_workers_down_and_swept_without_any(lab: Lab) -> None:
    workers = lab.workers(2)
    lab.put(lab.naps(400, 0.01))
    lab.until(lambda: lab.rows() > 20, what="work")
    for worker in workers:
        worker.kill()
    time.sleep(lab.settings.dead_after + 1)
    done = lab.command("sweep", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["dead"] > 0
    with lab.timed():
        lab.workers(1)
        lab.quiet()
    lab.verdict("F29", 1, "all workers killed, 'classyard sweep', one started later")


def assert_running(workers: list[Running]) -> None:
    for worker in workers:
        assert worker.process.poll() is None, worker.log.read_text()[-4000:]


def finished(lab: Lab) -> bool:
    return not lab.sql("SELECT 1 FROM jobs WHERE finished_at IS NULL")
