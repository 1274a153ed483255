"""Answering: a row of scores becomes the labels that an image gets, best first.

Without thresholds: the top-k. A binary model with a threshold answers the second label from that
score on. A multi-label model with thresholds answers all labels that reach theirs, or, where none
does, the label `output.none`, one past the last class, whose score is what the best label lacks to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.types import Prediction
from worker.topk import top_k

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec

Predictions = tuple[Prediction, ...]


class Answering:
    """What one model's scores mean."""

    def __init__(self, spec: ModelSpec) -> None:
        self._labels = spec.labels
        self._kind = spec.kind if spec.output.thresholded else "multiclass"
        self._none = spec.output.none
        every = spec.output.threshold if spec.output.threshold is not None else 0.5
        thresholds = [spec.output.thresholds.get(label, every) for label in spec.labels]
        self._thresholds = np.asarray(thresholds, np.float32)

    @property
    def classes(self) -> int:
        """How many scores the model gives."""
        return len(self._labels)

    def answer(self, scores: NDArray[np.float32], k: int) -> Iterator[Predictions]:
        """Yield at most `k` predictions for each row of scores `[N, classes]`."""
        if self._kind == "multilabel":
            # Below every score: what does not reach its threshold comes last, and is cut off.
            kept = np.where(scores >= self._thresholds, scores, np.float32(-1))
            for row, (indices, best) in zip(scores, self._best(kept, k), strict=True):
                reached = tuple(map(self._prediction, indices, best))
                reached = tuple(one for one in reached if one.score >= 0)
                yield reached or (self._nothing(row),)
        elif self._kind == "binary":
            for row in scores:
                order = (1, 0) if row[1] >= self._thresholds[1] else (0, 1)
                yield tuple(self._prediction(index, float(row[index])) for index in order[:k])
        else:
            for indices, best in self._best(scores, k):
                yield tuple(map(self._prediction, indices, best))

    def _best(self, scores: NDArray[np.float32], k: int) -> Iterator[tuple[list[int], list[float]]]:
        indices, best = top_k(scores, k)
        return zip(indices.tolist(), best.tolist(), strict=True)

    def _prediction(self, class_index: int, score: float) -> Prediction:
        return Prediction(class_index, self._labels[class_index], score)

    def _nothing(self, row: NDArray[np.float32]) -> Prediction:
        return Prediction(len(self._labels), self._none, 1.0 - float(row.max()))
