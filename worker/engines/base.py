"""The one protocol of the project: tests and benchmarks need a second engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Child:
    """Which of a worker's child processes this is: GPUs are shared out by it."""

    index: int = 0
    count: int = 1


class Engine(Protocol):
    """A network in memory, preprocessing and final activation inside."""

    @property
    def batch_size(self) -> int:
        """Most images worth giving to one `predict` call."""
        ...

    @property
    def embedding_size(self) -> int:
        """How many numbers of an embedding follow an image's scores; 0 without embeddings."""
        ...

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score `batch` (uint8 `[N, H, W, C]`, 1 <= N <= batch_size).

        Returns float32 `[N, classes + embedding_size]`: the scores, then the embedding.

        The scores of an image do not depend on its neighbours in the batch.
        """
        ...
