"""Batches by turns: one is filled while, on a device, the model works on the one before."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from core.types import Outcome
    from worker.pipeline.predicting import Picture

    Outcomes: TypeAlias = dict[str, Outcome]
    #: Pixels of pictures: uint8 `[N, H, W, C]`, or N times `[H, W, C]`.
    Batch: TypeAlias = NDArray[np.uint8] | list[NDArray[np.uint8]]
    #: Answers the pictures whose pixels are in a batch.
    Answer: TypeAlias = Callable[[list[Picture], Batch], Outcomes]


class Turns:
    """The batches of one pipeline.

    `aside` runs the model in a thread of its own: for a device, which leaves this process's cores idle
    while it works. Otherwise there is one batch, and whoever fills it also has it answered.
    """

    def __init__(self, new: Callable[[], Batch], *, aside: bool) -> None:
        """Allocate the batches by calling `new`."""
        self._batches = [new() for _ in range(2 if aside else 1)]
        self._thread = ThreadPoolExecutor(1, "predict") if aside else None

    def begin(self, answer: Answer) -> Turn:
        """Return the turns of one chunk. Whatever an earlier chunk left undone is forgotten."""
        return Turn(self._batches, answer, self._thread)

    def close(self) -> None:
        """End the thread, without waiting for the device."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


class Turn:
    """One chunk's pictures, put into one batch after the other."""

    def __init__(
        self,
        batches: list[Batch],
        answer: Answer,
        thread: ThreadPoolExecutor | None,
    ) -> None:
        self._batches = list(batches)
        self._answer = answer
        self._thread = thread
        self._waiting: list[Picture] = []
        self._under_way: Future[Outcomes] | None = None

    def add(self, picture: Picture, pixels: NDArray[np.uint8]) -> bool:
        """Take a picture; True if the batch is full now."""
        self._batches[0][len(self._waiting)] = pixels
        self._waiting.append(picture)
        return len(self._waiting) == len(self._batches[0])

    def send(self) -> Outcomes:
        """Have the batch answered; return the answers there are: on a device, those of the last one."""
        pictures, self._waiting = self._waiting, []
        batch = self._batches[0][: len(pictures)]
        if self._thread is None:
            return self._answer(pictures, batch) if pictures else {}
        # Only then is the other batch free to be filled.
        done = self._under_way.result() if self._under_way else {}
        self._under_way = self._thread.submit(self._answer, pictures, batch) if pictures else None
        self._batches.reverse()
        return done

    def finish(self) -> Outcomes:
        """Return all answers that are still out."""
        return {**self.send(), **self.send()}
