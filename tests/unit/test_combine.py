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


class Vector(Constant):
    """The pixels of a picture's corner are its embedding."""

    def __init__(self, scores: list[float], length: int) -> None:
        super().__init__(scores)
        self.embedding_size = length

    def predict(self, batch: np.ndarray) -> np.ndarray:
        corner = batch[:, 0, 0, : self.embedding_size].astype(np.float32)
        return np.concatenate([super().predict(batch), corner], axis=1)


def test_cosines_of_an_ensemble_are_the_weighed_average_of_its_members() -> None:
    both = Ensemble([Vector([1, 0], 2), Vector([0, 1], 3)], [0.25, 0.75])
    assert both.embedding_size == 5
    pictures = np.array([[3, 4, 0], [5, 12, 84], [0, 0, 0]], np.uint8)[:, None, None]
    answer = both.predict(pictures)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer[:, :2], [[0.25, 0.75]] * 3)
    one, other, nothing = answer[:, 2:]
    np.testing.assert_allclose(one @ one, 1, rtol=1e-6)
    cosines = (3 * 5 + 4 * 12) / (5 * 13), (3 * 5 + 4 * 12) / (5 * 85)
    np.testing.assert_allclose(one @ other, 0.25 * cosines[0] + 0.75 * cosines[1], rtol=1e-6)
    assert not nothing.any()


def test_a_mirrored_picture_counts_half() -> None:
    batch = np.zeros((1, 2, 5, 3), np.uint8)
    batch[:, :, 0], batch[:, :, -1] = 10, 30
    engine = Flipped(LeftEdge())
    assert (engine.batch_size, engine.embedding_size) == (4, 1)
    np.testing.assert_allclose(engine.predict(batch), [[20, 20]])
