"""Ensembles and mirrored pictures: plain averages of what the engines say."""

from __future__ import annotations

import numpy as np

from worker.engines.combine import Ensemble, Flipped


class Constant:
    """Always gives the same scores."""

    embedding_size = 0

    def __init__(self, scores: list[float], batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self._scores = np.array(scores, np.float32)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.tile(self._scores, (len(batch), 1))


class LeftEdge:
    """Gives the value of the left-most pixels."""

    batch_size = 4
    embedding_size = 1

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return batch[:, 0, 0, :2].astype(np.float32)


def test_an_ensemble_averages_by_shares() -> None:
    both = Ensemble([Constant([1, 0]), Constant([0, 1], batch_size=1)], [0.25, 0.75])
    assert (both.batch_size, both.embedding_size) == (1, 0)
    scores = both.predict(np.zeros((3, 2, 2, 3), np.uint8))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [[0.25, 0.75]] * 3)


def test_a_mirrored_picture_counts_half() -> None:
    batch = np.zeros((1, 2, 5, 3), np.uint8)
    batch[:, :, 0], batch[:, :, -1] = 10, 30
    engine = Flipped(LeftEdge())
    assert (engine.batch_size, engine.embedding_size) == (4, 1)
    np.testing.assert_allclose(engine.predict(batch), [[20, 20]])
