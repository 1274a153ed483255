"""Top-k: the best classes of each row of scores. Pure arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def top_k(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the class indices and the scores of the `k` best classes per row, best first.

    Of equal scores the lower class index comes first, on every machine. With fewer classes than
    `k` all are returned. Rows with NaN have no order: leave them out with `finite_rows`.
    """
    classes = scores.shape[1]
    k = min(k, classes)
    # One unique integer per class, ordered by score and then by falling index: a partial sort of
    # those is exact, where argpartition would pick any of several equal scores. Adding 0 makes
    # -0.0 equal to 0.0; the xor makes the bits of negative floats rise with their value.
    bits = (scores + np.float32(0)).view(np.int32).astype(np.int64)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32 | np.arange(classes - 1, -1, -1)
    if k < classes:
        keys = np.partition(keys, classes - k, axis=1)[:, classes - k :]
    keys = np.sort(keys, axis=1)[:, ::-1]
    indices = (classes - 1 - (keys & 0xFFFFFFFF)).astype(np.intp)
    return indices, np.take_along_axis(scores, indices, axis=1)


def finite_rows(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return, per row, whether every score is a finite number."""
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(scores), axis=1)
    return finite
