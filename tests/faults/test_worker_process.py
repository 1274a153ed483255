"""The worker's processes: killed, paused, stopped, restarted; pictures that take them along."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.lab import DEFAULT
from tests.faults.rows import alone, first_postgresql, first_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab

COMMIT_POINTS = ("before_commit", "after_commit")


@alone
@first_postgresql
def test_f1_a_killed_worker_is_replaced(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 20)
    lab.workers(2)
    for _ in range(n):
        lab.keep_busy()
        victim = lab.processes[-1]
        lab.until(lambda victim=victim: lab.held(victim), what="a chunk in work")
        time.sleep(lab.random.uniform(0, 0.05))
        children, held = victim.children(), lab.held(victim)
        victim.kill()
        with lab.timed():
            lab.workers(1)
            lab.until(lambda held=held: lab.done(held), 30, "the victim's chunks")
        lab.until(lambda pids=children: not any(map(lives, pids)), 5, "the end of its children")
    lab.verdict("F1", n, "kill -9 of a worker in work, another started")


@alone
@pytest.mark.faults_full
def test_f1_by_default_settings_another_worker_takes_over_within_a_minute(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(2, 20)
    lab = open_lab(**DEFAULT)
    lab.workers(1 + n, CLASSYARD_CONCURRENCY="1")
    lab.put(lab.naps(16 * n, 1.0), chunk_size=1)
    victims = lab.processes[1:]
    lab.until(lambda: all(map(lab.held, victims)), what="every victim in work")
    watched: list[tuple[float, set[int]]] = []
    for victim in victims:
        time.sleep(lab.random.uniform(0, 2))
        lab.until(lambda victim=victim: lab.held(victim), what="a chunk in work")
        held = lab.held(victim)
        victim.kill()
        watched.append((time.monotonic(), held))
    reclaimed = watch_claims(lab, watched, 80)
    lab.recoveries += reclaimed
    assert max(reclaimed) < 60
    lab.workers(1, CLASSYARD_CONCURRENCY="8")
    lab.verdict("F1d", n, "as F1, default settings, nobody restarts: a survivor takes over")


def watch_claims(lab: Lab, watched: list[tuple[float, set[int]]], limit: float) -> list[float]:
    """Return after how many seconds the chunks of each victim were free or in work again."""
    took: list[float] = []
    deadline = time.monotonic() + limit
    waiting = [(at, held) for at, held in watched if held]
    while waiting and time.monotonic() < deadline:
        for at, held in list(waiting):
            ids = ",".join(map(str, held))
            stuck = lab.sql(
                f"SELECT count(*) FROM chunks c WHERE c.id IN ({ids}) AND c.status = 'running'"
                " AND c.attempts = 1"
            )[0][0]
            if not stuck:
                took.append(time.monotonic() - at)
                waiting.remove((at, held))
        time.sleep(0.1)
    assert not waiting, waiting
    return took


@alone
@first_sqlite
def test_f1_a_killed_child_is_replaced_within_ten_seconds(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    lab = open_lab(**DEFAULT)
    [worker] = lab.workers(1)
    while len(lab.recoveries) < n:
        lab.keep_busy(6)
        lab.until(lambda: lab.sql(HELD_CHILD), what="a child in work")
        child = lab.sql(HELD_CHILD)[0][0]
        time.sleep(lab.random.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):  # the last one's, not yet freed
            os.kill(child, signal.SIGKILL)
        if not (left := {row[0] for row in lab.sql(LEFT, child=child)}):
            continue  # between two chunks
        with lab.timed():
            lab.until(lambda left=left: lab.done(left), 30, "the child's chunk")
        assert lab.recoveries[-1] < 10, worker.log.read_text()[-4000:]
    assert worker.process.poll() is None
    lab.verdict("F1c", n, "kill -9 of one child, default settings")


@alone
@first_postgresql
def test_f1_what_a_killed_child_had_not_sent_yet_is_sent_within_ten_seconds(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    """It held no chunk, and its next one was marked queued: the sweep would look in half a minute."""
    lab = open_lab(**DEFAULT)
    n = rounds(1, 20)
    lab.dying_worker("before_send", n)
    deaths = 0
    for _ in range(n):
        with lab.timed():
            lab.put(lab.naps(32, 0.001), chunk_size=4)
            lab.quiet()
        before, deaths = deaths, len(list(lab.settings.home.glob("before_send.*")))
        assert lab.recoveries[-1] < 10 * max(1, deaths - before)
    lab.all_run()
    lab.verdict("F1e", deaths, "kill -9 of a child before it sent the next chunk, default settings")
    assert deaths
    assert lab.counter("chunks_swept") == 0, "found by the sweep only"


#: The children in work, and what one that was killed has left.
HELD_CHILD = "SELECT child FROM chunks WHERE status = 'running'"
LEFT = "SELECT id FROM chunks WHERE status = 'running' AND child = :child"


@pytest.mark.parametrize(
    "point",
    ["mid_insert", *(pytest.param(p, marks=pytest.mark.faults_full) for p in COMMIT_POINTS)],
)
def test_f2_f3_death_around_the_commit(
    lab: Lab, point: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    lab.dying_worker(point, n)
    lab.put(lab.naps(n * 40, 0.002))
    found = lab.verdict("F2" if point == "after_commit" else "F3", n, f"child killed {point}")
    # A death before the commit costs a second run, one after it costs nothing.
    assert found.extra >= (0 if point == "after_commit" else 1)
    assert lab.sql("SELECT count(*) FROM results")[0][0] == n * 40
    if point == "after_commit":
        assert lab.settings.home.joinpath("after_commit.0").exists()


@pytest.mark.faults_full
def test_f5_a_zombies_late_commit_is_discarded(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    [zombie] = lab.workers(1)
    lab.workers(1)
    for _ in range(n):
        lab.put(lab.naps(20, 0.1), chunk_size=5)
        lab.until(lambda: lab.held(zombie), what="a chunk of the zombie")
        held = lab.held(zombie)
        everyone = lab.freeze(zombie)
        with lab.timed():
            lab.until(lambda held=held: lab.done(held), 30, "the zombie's chunks")
        lab.thaw(everyone)
        lab.quiet()
        lab.until(lambda: not lab.held(zombie), 10, "the zombie's empty hands")
    lab.verdict("F5", n, f"{lab.counter('commits_discarded')} late commits discarded")
    assert lab.counter("commits_discarded") >= n / 2  # the others were frozen between two chunks


@first_sqlite
@pytest.mark.parametrize("kind", ["segv", pytest.param("crash", marks=pytest.mark.faults_full)])
def test_f16_a_picture_that_kills_its_worker_is_found(
    lab: Lab, kind: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    poison(lab, kind, n)
    lab.all_run()
    lab.verdict("F16", n, f"a picture that ends the process ({kind}) in a chunk of 64")


@pytest.mark.faults_full
def test_f16_a_picture_that_hangs_is_found(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 5)
    lab.dying_worker("short_watchdog", 1)
    poison(lab, "hang", n)
    lab.all_run()
    lab.verdict("F16h", n, "a picture that hangs in a chunk of 64; stall watchdog 2 s, not 150 s")


def poison(lab: Lab, kind: str, n: int) -> None:
    """Submit jobs with one deadly picture each, one after the other; all others get their labels."""
    for _ in range(n):
        uris = lab.naps(64, 0.001)
        place = lab.random.randrange(64)
        uris[place] = f"stub://{kind}/{lab.random.getrandbits(48):x}"
        with lab.timed():
            job = lab.put(uris, chunk_size=64)
            assert lab.finish(job, 90) == "completed_with_errors"
        failed = lab.sql(
            "SELECT position, error_code FROM results WHERE job_id = :job AND status = 'failed'",
            job=job,
        )
        assert [tuple(row) for row in failed] == [(place, "worker_crash")]


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
