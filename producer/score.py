"""Score: a job's labels against the truth: accuracy, per class, confusions, calibration."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError, UsageError
from core.modelspec import read_model
from core.types import ResultStatus
from db import queries, results
from producer.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import Row

    from db.session import Database
    from producer.truth import Truth

#: Bins of the calibration: as many as Guo et al. use in their tables (see `_calibration`).
BINS: Final = 15


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class. `support` images are of it, `predicted` were given it, `hits` both."""

    class_index: int
    label: str
    support: int
    predicted: int
    hits: int

    @property
    def precision(self) -> float | None:
        """Share of the images given this class that are of it; None if none was given it."""
        return self.hits / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the images of this class that were given it; None if there are none."""
        return self.hits / self.support if self.support else None


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many images of one class were given another."""

    truth: str
    predicted: str
    count: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose score is in (low, high]."""

    low: float
    high: float
    count: int
    accuracy: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """A job against the truth. Failed images and images without a truth are counted apart."""

    job_id: int
    model: str
    truth_column: str
    truth_kind: str
    scored: int
    failed: int
    without_truth: int
    top_k: int
    top_1: float
    top_k_accuracy: float
    expected_calibration_error: float
    classes: list[ClassScore]
    confusions: list[Confusion]
    bins: list[Bin]


@dataclass(slots=True)
class _Tally:
    """Running sums over the rows."""

    labels: Sequence[str]
    truth: Truth
    counts: Counter[str] = field(default_factory=Counter)
    support: Counter[int] = field(default_factory=Counter)
    predicted: Counter[int] = field(default_factory=Counter)
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    bins: list[list[float]] = field(default_factory=lambda: [[0, 0, 0.0] for _ in range(BINS)])

    def add(self, row: Row[Any]) -> None:
        """Count one image."""
        expected = self.truth.classes.get(row.truth) if row.truth is not None else None
        if expected is None:
            self.counts["without_truth"] += 1
            return
        if row.status == ResultStatus.FAILED:
            self.counts["failed"] += 1
            return
        if row.class_index >= len(self.labels) or self.labels[row.class_index] != row.label:
            raise ClassyardError(
                f"the model has other labels now than when the job ran: class {row.class_index} "
                f"was '{row.label}'"
            )
        same = self.truth.canonical
        found = same[row.class_index]
        self.counts["scored"] += 1
        self.counts["top_k"] += any(same[index] == expected for index, *_ in row.predictions)
        self.support[expected] += 1
        self.predicted[found] += 1
        self.pairs[expected, found] += 1
        chosen = self.bins[min(BINS - 1, max(0, math.ceil(row.score * BINS) - 1))]
        chosen[0] += 1
        chosen[1] += found == expected
        chosen[2] += row.score


def score(database: Database, models_path: Path, job_id: int, column: str | None = None) -> Score:
    """Compare a job's labels with the truth in a further column of its manifest.

    `column` defaults to the one named when the job was submitted.

    Raises:
        NoSuchJobError: if there is no such job.
        UsageError: if no column is known, or no row has it.
        ClassyardError: if its values are not classes of the job's model, or no image can be scored.
    """
    job = database.read(queries.progress, job_id)
    column = column or database.read(queries.options, job_id).get("truth_column")
    if not column:
        raise UsageError(f"job {job_id} was submitted without a truth: say --truth-column NAME")
    spec = read_model(job.model, models_path)
    tally = _Tally(spec.labels, read_truth(database, job_id, column, spec))
    for row in results.stream_truths(database, job_id, column):
        tally.add(row)
    counts = tally.counts
    scored = counts["scored"]
    if not scored:
        raise ClassyardError(f"no image of job {job_id} has both a label and a truth")
    hits = sum(tally.pairs[index, index] for index in tally.support)
    return Score(
        job_id=job_id,
        model=job.model,
        truth_column=column,
        truth_kind=tally.truth.kind.value,
        scored=scored,
        failed=counts["failed"],
        without_truth=counts["without_truth"],
        top_k=database.read(queries.top_k, job_id),
        top_1=hits / scored,
        top_k_accuracy=counts["top_k"] / scored,
        expected_calibration_error=_calibration(tally.bins, scored),
        classes=_classes(tally),
        confusions=_confusions(tally),
        bins=[_bin(at, *sums) for at, sums in enumerate(tally.bins)],
    )


def _classes(tally: _Tally) -> list[ClassScore]:
    """Return every class that occurs, in the order of the labels."""
    return [
        ClassScore(
            index,
            tally.labels[index],
            tally.support[index],
            tally.predicted[index],
            tally.pairs[index, index],
        )
        for index in sorted({*tally.support, *tally.predicted})
    ]


def _confusions(tally: _Tally) -> list[Confusion]:
    """Return the pairs that were taken for each other, the most frequent first."""
    wrong = [(pair, count) for pair, count in tally.pairs.items() if pair[0] != pair[1]]
    return [
        Confusion(tally.labels[truth], tally.labels[found], count)
        for (truth, found), count in sorted(wrong, key=lambda item: (-item[1], item[0]))
    ]


def _calibration(bins: Sequence[Sequence[float]], scored: int) -> float:
    """Return the expected calibration error over equal-width bins of the top-1 score.

    The sum over bins of |accuracy - mean score|, weighted by the bin's share of the images:
    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, eq. 3
    (arXiv:1706.04599), after Naeini, Cooper, Hauskrecht, AAAI 2015.
    """
    return sum(abs(hits - total) for _, hits, total in bins) / scored


def _bin(at: int, count: float, hits: float, total: float) -> Bin:
    return Bin(
        low=at / BINS,
        high=(at + 1) / BINS,
        count=int(count),
        accuracy=hits / count if count else None,
        score=total / count if count else None,
    )
