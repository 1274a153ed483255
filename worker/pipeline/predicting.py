"""Answers for the pipeline: batches through the engine, offenders isolated, scores to predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import Code
from core.types import Classified, Failure
from worker.topk import finite_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from core.types import Outcome
    from worker.answering import Answering
    from worker.engines.base import Engine
    from worker.pipeline.turns import Batch


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture on its way through the model; its pixels are in the batch."""

    uri: str
    width: int
    height: int
    content_hash: str


class Predictor:
    """The model's side of one chunk; remembers whether the model ever answered."""

    def __init__(
        self,
        engine: Engine,
        answering: Answering,
        top_k: int,
        pass_on: tuple[type[Exception], ...],
    ) -> None:
        self._engine = engine
        self._answering = answering
        self._top_k = top_k
        self._pass_on = pass_on
        self._answered = False
        self._error: Exception | None = None

    def predict(
        self, pictures: Sequence[Picture], batch: Batch, beat: Callable[[], None]
    ) -> Iterator[tuple[str, Outcome]]:
        """Yield the outcome of every picture of the batch.

        A batch that the engine refuses is halved until the offender is alone: it gets a `Failure`.
        """
        try:
            scores = self._scores(batch, beat)
        except self._pass_on:
            raise
        except Exception as error:  # noqa: BLE001  recorded; raised by `raise_if_hopeless`
            if len(batch) == 1:
                self._error = error
                text = f"{type(error).__name__}: {error}"
                yield pictures[0].uri, Failure(Code.MODEL_OUTPUT, text)
                return
            half = len(batch) // 2
            yield from self.predict(pictures[:half], batch[:half], beat)
            yield from self.predict(pictures[half:], batch[half:], beat)
            return
        self._answered = True
        yield from self._outcomes(pictures, scores)

    def raise_if_hopeless(self) -> None:
        """Raise the engine's last error if it never answered: the model is at fault, not the images.

        Raises:
            Exception: whatever the engine raised.
        """
        if self._error is not None and not self._answered:
            raise self._error

    def _scores(self, batch: Batch, beat: Callable[[], None]) -> NDArray[np.float32]:
        """Score the batch in as many calls as the engine needs."""
        wanted = (len(batch), self._answering.classes + self._engine.embedding_size)
        scores = np.empty(wanted, np.float32)
        size = self._engine.batch_size
        for start in range(0, len(batch), size):
            part = batch[start][None] if size == 1 else np.asarray(batch[start : start + size])
            try:
                answer = self._engine.predict(part)
            finally:
                beat()
            if answer.shape != (len(part), wanted[1]):  # a row too few would shift every label
                raise ValueError(
                    f"the model answered {answer.shape} instead of {(len(part), wanted[1])}"
                )
            scores[start : start + len(part)] = answer
        return scores

    def _outcomes(
        self, pictures: Sequence[Picture], scores: NDArray[np.float32]
    ) -> Iterator[tuple[str, Outcome]]:
        finite = finite_rows(scores).tolist()
        classes = self._answering.classes
        answers = self._answering.answer(scores[:, :classes], self._top_k)
        embeddings = _compact(scores[:, classes:])
        for row, (picture, predictions) in enumerate(zip(pictures, answers, strict=True)):
            if not finite[row]:
                yield picture.uri, Failure(Code.MODEL_OUTPUT, "scores are not finite numbers")
                continue
            yield (
                picture.uri,
                Classified(
                    predictions,
                    picture.width,
                    picture.height,
                    picture.content_hash,
                    embeddings[row],
                ),
            )


def _compact(embeddings: NDArray[np.float32]) -> list[bytes | None]:
    """Return each row as little-endian float16, cut to its range; None without numbers."""
    if not embeddings.shape[1]:
        return [None] * len(embeddings)
    bound = float(np.finfo(np.float16).max)
    return [row.tobytes() for row in np.clip(embeddings, -bound, bound).astype("<f2")]
