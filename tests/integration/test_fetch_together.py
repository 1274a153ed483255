"""Fetch: what the children of one worker ask one host together. Real forks, a server that counts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.integration.test_fetch_http import Site, Visit, site
from tests.support.yard import ROOT

__all__ = ["site"]

CHILDREN = 4


class Counter:
    """A route that counts: when it was asked, and how many were inside at once."""

    def __init__(self, seconds: float = 0.0, refusals: int = 0) -> None:
        self.moments: list[float] = []
        self.most = 0
        self._inside = 0
        self._seconds = seconds
        self._refusals = refusals
        self._lock = threading.Lock()

    def __call__(self, visit: Visit) -> None:
        with self._lock:
            self.moments.append(time.monotonic())
            number = len(self.moments)
            self._inside += 1
            self.most = max(self.most, self._inside)
        time.sleep(self._seconds)
        with self._lock:
            self._inside -= 1  # before the answer: with it the next one may come
        if number <= self._refusals:
            visit.answer(b"", "429 Too Many", ("Retry-After: 2",))
        else:
            visit.answer(b"picture")


def ask(site: Site, route: Callable[[Visit], None], images: int, **asked: Any) -> list[list[str]]:
    """Have four children fetch so many images; return what each got."""
    start = site.on("/x", route)
    limits = {"ports": str(site.port), "allow_nets": "127.0.0.0/8", **asked.pop("limits", {})}
    given = {"children": CHILDREN, "threads": 8, "limits": limits, **asked}
    given["urls"] = [f"{start}?{number}" for number in range(images)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.guests"], cwd=ROOT, input=json.dumps(given),
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_all_children_together_ask_so_often_and_no_more(site: Site) -> None:
    counter = Counter()
    found = ask(site, counter, 40, limits={"rate_per_host": 10})
    assert found == [["picture"] * 10] * CHILDREN
    moments = sorted(counter.moments)
    for first in range(len(moments) - 10):
        assert moments[first + 10] - moments[first] > 0.7, "more than 10 in a second"
    assert moments[-1] - moments[0] < 8, "turns were lost"


def test_all_children_together_have_so_many_slots(site: Site) -> None:
    counter = Counter(seconds=0.02)
    began = time.monotonic()
    found = ask(site, counter, 200, limits={"per_host": 3})
    assert found == [["picture"] * 50] * CHILDREN
    assert counter.most == 3
    assert time.monotonic() - began < 10


def test_no_child_is_left_out(site: Site) -> None:
    # One slot; whoever waits longer than 4 tries' lengths gives up.
    found = ask(site, Counter(seconds=0.05), 80, limits={"per_host": 1, "fetch_timeout": 0.9})
    assert found == [["picture"] * 20] * CHILDREN


def test_a_429_silences_all_children(site: Site) -> None:
    counter = Counter(refusals=1)
    limits = {"per_host": 1}
    found = ask(site, counter, 24, limits=limits)
    assert found == [["picture"] * 6] * CHILDREN
    assert counter.moments[1] - counter.moments[0] >= 1.95


def test_turns_that_were_given_before_a_429_wait_as_well(site: Site) -> None:
    counter = Counter(refusals=1)
    # A second between two turns: the refusal is heard before the next one, also on a busy machine.
    found = ask(site, counter, CHILDREN, limits={"rate_per_host": 1})
    assert found == [["picture"]] * CHILDREN
    assert counter.moments[1] - counter.moments[0] >= 1.95


def test_a_child_that_dies_gives_its_slots_back(site: Site) -> None:
    counter = Counter(seconds=1)
    found = ask(site, counter, 16, limits={"per_host": 2}, crash=True)
    assert found == [["picture"] * 4] * (CHILDREN - 1)
    # Two at once; and what the dead child had asked, two at most, goes on at the server for a while.
    assert counter.most <= 4
