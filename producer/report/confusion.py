"""Confusion: which true classes were given which labels, as a table that fits a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.score import Score

#: Classes of a whole table; of more classes only those most confused are shown, so many.
WHOLE: Final = 20
PART: Final = 15


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows are true labels, columns given ones; `rest` are the images of a row in no column."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    rest: Sequence[int]
    classes: int

    @property
    def whole(self) -> bool:
        """Whether all classes that occur are in it."""
        return len(self.labels) == self.classes


def matrix(score: Score) -> Matrix:
    """Return the confusion matrix of the classes that matter."""
    hits: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for one in score.classes:
        hits[one.label] += one.hits
        support[one.label] += one.support
    wrong: Counter[tuple[str, str]] = Counter()
    blame: Counter[str] = Counter()
    for pair in score.confusions:
        wrong[pair.truth, pair.predicted] += pair.count
        blame[pair.truth] += pair.count
        blame[pair.predicted] += pair.count
    labels = list(support)
    if len(labels) > WHOLE:
        worst = {label for label, _ in blame.most_common(PART)}
        labels = [label for label in labels if label in worst]
    counts = [
        [hits[truth] if truth == given else wrong[truth, given] for given in labels]
        for truth in labels
    ]
    rest = [support[truth] - sum(row) for truth, row in zip(labels, counts, strict=True)]
    return Matrix(labels, counts, rest, len(support))
