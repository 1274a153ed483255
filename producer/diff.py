"""Diff: what two jobs say of the same images: agreement, changed labels, shifted scores."""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import UsageError
from core.types import ResultStatus
from db import queries
from db.compare import stream_pairs

if TYPE_CHECKING:
    from sqlalchemy import Row

    from db.compare import Pair
    from db.session import Database

#: Scores of one label that differ by more than this have shifted.
SHIFT = 0.1


@dataclass(frozen=True, slots=True)
class LabelChange:
    """How many images went from one label to another."""

    a: str
    b: str
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """One image whose label changed."""

    uri: str
    label_a: str
    score_a: float
    label_b: str
    score_b: float


@dataclass(frozen=True, slots=True)
class Diff:
    """Two jobs compared. `compared` images have labels in both; each shift is B's score minus A's.

    `changes` are the surest disagreements: those where the less sure job is the surest.
    """

    job_a: int
    job_b: int
    compared: int
    same_label: int
    only_a: int
    only_b: int
    failed_a: int
    failed_b: int
    failed_both: int
    mean_shift: float
    mean_absolute_shift: float
    largest_shift: float
    shifted: int
    label_changes: list[LabelChange]
    changes: list[Change]

    @property
    def agreement(self) -> float | None:
        """Share of the compared images that have the same label; None if there are none."""
        return self.same_label / self.compared if self.compared else None


@dataclass(slots=True)
class _Tally:
    """Running sums over the pairs."""

    limit: int
    counts: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    shift: float = 0.0
    absolute: float = 0.0
    largest: float = 0.0
    surest: list[tuple[float, int, Change]] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        """Count one image."""
        if pair.a is None or pair.b is None:
            self.counts["only_b" if pair.a is None else "only_a"] += 1
            return
        failed_a, failed_b = (row.status == ResultStatus.FAILED for row in (pair.a, pair.b))
        if failed_a or failed_b:
            both = failed_a and failed_b
            self.counts["both" if both else "failed_a" if failed_a else "failed_b"] += 1
            return
        self.counts["compared"] += 1
        if pair.a.label == pair.b.label:
            self._same(pair.b.score - pair.a.score)
        else:
            self._changed(pair.uri, pair.a, pair.b)

    def _same(self, shift: float) -> None:
        self.counts["same"] += 1
        self.shift += shift
        self.absolute += abs(shift)
        self.largest = max(self.largest, shift, key=abs)
        self.counts["shifted"] += abs(shift) > SHIFT

    def _changed(self, uri: str, a: Row[Any], b: Row[Any]) -> None:
        # Interned: a pair that is counted must not keep the strings of its rows alive.
        self.pairs[sys.intern(a.label), sys.intern(b.label)] += 1
        change = Change(uri, a.label, a.score, b.label, b.score)
        entry = (min(a.score, b.score), -self.counts["compared"], change)
        if len(self.surest) < self.limit:
            heapq.heappush(self.surest, entry)
        elif self.surest:
            heapq.heappushpop(self.surest, entry)


def diff(database: Database, job_a: int, job_b: int, limit: int = 20) -> Diff:
    """Compare the results of two jobs image by image; `limit` bounds the single changes kept.

    Raises:
        NoSuchJobError: if one of the jobs does not exist.
        UsageError: if both are the same job.
    """
    if job_a == job_b:
        raise UsageError("a job does not differ from itself: name two jobs")
    for job_id in (job_a, job_b):
        database.read(queries.progress, job_id)
    tally = _Tally(limit)
    for pair in stream_pairs(database, job_a, job_b):
        tally.add(pair)
    counts = tally.counts
    same = max(1, counts["same"])
    ordered = sorted(tally.pairs.items(), key=lambda found: (-found[1], found[0]))
    return Diff(
        job_a=job_a,
        job_b=job_b,
        compared=counts["compared"],
        same_label=counts["same"],
        only_a=counts["only_a"],
        only_b=counts["only_b"],
        failed_a=counts["failed_a"],
        failed_b=counts["failed_b"],
        failed_both=counts["both"],
        mean_shift=tally.shift / same,
        mean_absolute_shift=tally.absolute / same,
        largest_shift=tally.largest,
        shifted=counts["shifted"],
        label_changes=[LabelChange(a, b, count) for (a, b), count in ordered],
        changes=[change for *_, change in sorted(tally.surest, reverse=True)],
    )
