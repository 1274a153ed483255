"""Batches through a network that was built for a number of pictures: most often for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def score_in_calls(
    batch: NDArray[np.uint8],
    number: int,
    width: int,
    call: Callable[[NDArray[np.uint8]], Any],
    *,
    fewer: bool = False,
) -> NDArray[np.float32]:
    """Return float32 `[N, width]`: what `call` gives for `number` pictures at a time.

    The last call is filled up, unless `fewer` says that it may hold less.
    """
    scores = np.empty((len(batch), width), np.float32)
    for start in range(0, len(batch), number):
        part = batch[start : start + number]
        count = len(part)
        if count < number and not fewer:
            filling = np.zeros((number - count, *part.shape[1:]), np.uint8)
            part = np.concatenate([part, filling])
        scores[start : start + count] = call(part)[:count]
    return scores
