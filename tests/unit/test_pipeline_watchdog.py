"""Watchdog: in a process of its own, because it ends it."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent


def run(body: str) -> subprocess.CompletedProcess[str]:
    code = "import sys, time\nfrom worker.watchdog import Watchdog\n" + dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )


def test_ends_a_process_that_hangs_and_shows_where() -> None:
    done = run("""
        def hang():
            time.sleep(15)
        with Watchdog(0.2):
            hang()
    """)
    assert done.returncode == 1
    assert "Timeout (0:00:00.2" in done.stderr
    assert "hang" in done.stderr


def test_ends_a_process_that_hangs_below_python() -> None:
    # A C loop that keeps the interpreter's lock: no Python thread and no signal handler gets a turn.
    done = run("""
        with Watchdog(0.3):
            int("7" * 4000) ** 10_000_000
    """)
    assert done.returncode == 1
    assert "Timeout" in done.stderr


def test_lives_while_something_moves() -> None:
    done = run("""
        with Watchdog(0.5) as watchdog:
            for _ in range(12):
                time.sleep(0.1)
                watchdog.beat()
        print("done")
    """)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_left_behind_it_does_nothing() -> None:
    done = run("""
        with Watchdog(0.2):
            pass
        time.sleep(0.5)
        print("done")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_beats_are_cheap() -> None:
    done = run("""
        with Watchdog(30) as watchdog:
            start = time.perf_counter()
            for _ in range(100_000):
                watchdog.beat()
            print(time.perf_counter() - start)
    """)
    assert float(done.stdout) < 1
