"""Engines made of engines: an ensemble of several, and one that also looks at the mirrored picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from core.model import ModelSpec
    from worker.engines.base import Engine


class Ensemble:
    """Averages the scores of several engines, each weighed with its share (they sum to one).

    Its embedding is the members' in a row, each of length 1 times the root of its share: so the
    cosine of two pictures' embeddings is the average of the members' cosines, weighed like scores.
    """

    def __init__(self, engines: Sequence[Engine], shares: Sequence[float]) -> None:
        self._engines = tuple(zip(engines, shares, strict=True))
        self.embedding_size = sum(engine.embedding_size for engine in engines)

    @property
    def batch_size(self) -> int:
        """Most images that suit all of them."""
        return min(engine.batch_size for engine, _ in self._engines)

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        scores: list[NDArray[np.float32]] = []
        vectors: list[NDArray[np.float32]] = []
        for engine, share in self._engines:
            answer = engine.predict(batch)
            classes = answer.shape[1] - engine.embedding_size
            scores.append(answer[:, :classes] * np.float32(share))
            vectors.append(_of_length(answer[:, classes:], share**0.5))
        return np.concatenate([np.sum(scores, axis=0, dtype=np.float32), *vectors], axis=1)


def _of_length(vectors: NDArray[np.float32], length: float) -> NDArray[np.float32]:
    """Return rows of this length in the same directions; zeros stay zeros."""
    found = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors * (length / np.where(found > 0, found, 1))).astype(np.float32)


class Flipped:
    """Averages the scores of each picture and of its mirror image."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def batch_size(self) -> int:
        """As many as the engine likes: it is called twice."""
        return self._engine.batch_size

    @property
    def embedding_size(self) -> int:
        """As the engine's: embeddings are averaged like scores."""
        return self._engine.embedding_size

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        mirrored = np.ascontiguousarray(batch[:, :, ::-1])
        return (self._engine.predict(batch) + self._engine.predict(mirrored)) / np.float32(2)


def flipped(engine: Engine, spec: ModelSpec) -> Engine:
    """Return the engine as the spec's `[augment]` wants it."""
    return Flipped(engine) if spec.augment.flip else engine
