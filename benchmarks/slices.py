"""Two ways of doing one thing at the same time: each runs for a moment while the other stands still.

A machine that is shared with strangers may be half as fast a second later. Two runs that follow each
other meet two machines; two that are cut into slices, each beside the other's, meet the same one.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks.measure import Pairs, Samples, number, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds that one of the two runs before the other does: short beside the machine's moods, long beside
#: the milliseconds that a process needs to fill its caches again.
SLICE: Final = 0.4
#: Seconds after which both are given up.
PATIENCE: Final = 280


class Run(Protocol):
    """Work of processes that can be stopped."""

    @property
    def pids(self) -> Sequence[int]:
        """Ids of the processes that stand still while the other runs."""

    def start(self) -> None:
        """Begin."""

    def ended(self) -> float | None:
        """Return the moment of the end (seconds since the epoch), None if it has not ended."""


def in_slices(ours: Callable[[], Run], theirs: Callable[[], Run], count: int, pairs: int) -> Pairs:
    """Measure the rates of two ways to do `count` things; every second pair begins with theirs."""
    rates: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        runs = (ours(), theirs())
        order = runs if pair % 2 == 0 else runs[::-1]
        seconds = dict(zip(order, _side_by_side(order), strict=True))
        for run, found in zip(runs, rates, strict=True):
            found.append(count / seconds[run])
        say(f"pair {pair + 1}/{pairs}: {number(rates[0][-1])} against {number(rates[1][-1])}")
    return Pairs(Samples(tuple(rates[0])), Samples(tuple(rates[1])))


def _side_by_side(runs: Sequence[Run]) -> list[float]:
    """Run all in turns; return the seconds that each needed, of those that were its own.

    Raises:
        TimeoutError: if one did not end.
    """
    slices: list[list[tuple[float, float]]] = [[] for _ in runs]
    ends: list[float | None] = [None for _ in runs]
    deadline = time.monotonic() + PATIENCE
    try:
        for run in runs:
            _signal(run, signal.SIGSTOP)
        while None in ends:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done in {PATIENCE} s")
            for place, run in enumerate(runs):
                if ends[place] is None:
                    slices[place].append(_slice(run, first=not slices[place]))
                    ends[place] = run.ended()
    finally:
        for run in runs:
            _signal(run, signal.SIGCONT)
    return [
        sum(min(stop, end) - start for start, stop in own if start < end)
        for own, end in zip(slices, ends, strict=True)
        if end is not None
    ]


def _slice(run: Run, *, first: bool) -> tuple[float, float]:
    """Let one run for a while, begin if it is the first time; return from when to when."""
    start = time.time()
    _signal(run, signal.SIGCONT)
    if first:
        run.start()
    time.sleep(max(0.0, start + SLICE - time.time()))
    _signal(run, signal.SIGSTOP)
    return start, time.time()


def _signal(run: Run, which: signal.Signals) -> None:
    for pid in run.pids:
        os.kill(pid, which)
