"""Pipeline: the URIs of a chunk become outcomes: fetch -> decode -> batch -> predict -> top-k.

An image's failure is a value beside its neighbours' answers; only what concerns the whole chunk (a
model that fails every image, a call to stop) is raised. Knows neither messages nor tables.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from core.errors import Code
from core.types import Classification, Failure, StageSeconds
from worker.decode import Decoded, decode, prepare
from worker.pipeline.fetching import FetchAhead
from worker.pipeline.predicting import Picture, Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import ImageLimits
    from core.types import Outcome
    from worker.engines.base import Engine
    from worker.fetch import Fetcher


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How a pipeline works.

    `batch_size` 0 means the engine's own. `pass_on` are exceptions that are no image's fault though
    they may surface in the middle of one (a time limit raised by a signal): never made a `Failure`.
    """

    image_limits: ImageLimits
    batch_size: int = 0
    fetch_ahead: int = 16
    pass_on: tuple[type[Exception], ...] = ()


class Pipeline:
    """Classifies chunk after chunk with one model, in one thread (plus threads that fetch)."""

    def __init__(
        self,
        fetcher: Fetcher,
        engine: Engine,
        spec: ModelSpec,
        settings: PipelineSettings,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """Allocate the batch. `beat` is called after every picture and every model call.

        Raises:
            SettingsError: if a picture format is unknown.
        """
        prepare(settings.image_limits)
        self._source = FetchAhead(fetcher, settings.fetch_ahead, settings.pass_on)
        self._engine = engine
        self._spec = spec
        self._settings = settings
        self._beat = beat
        size = min(settings.batch_size or engine.batch_size, engine.batch_size)
        shape = (size, spec.input.height, spec.input.width, spec.input.channels)
        self._batch = np.empty(shape, np.uint8)

    def classify(
        self,
        uris: Sequence[str],
        roots: Sequence[Path],
        top_k: int,
        stop: Callable[[], None] | None = None,
    ) -> Classification:
        """Return one outcome per URI, in the same order; a URI given twice is classified once.

        `stop` is called before every picture and may raise, to hand the chunk back.

        Raises:
            Exception: the engine's last one, if it raised for every single picture of the chunk.
        """
        seconds = StageSeconds()
        outcomes: dict[str, Outcome] = {}
        predictor = Predictor(self._engine, self._spec.labels, top_k, self._settings.pass_on)
        waiting: list[Picture] = []

        def predict() -> None:
            start = perf_counter()
            batch = self._batch[: len(waiting)]
            outcomes.update(predictor.predict(waiting, batch, self._beat))
            waiting.clear()
            seconds.predict += perf_counter() - start

        with closing(self._source.fetch_all(dict.fromkeys(uris), roots, seconds)) as fetched:
            for uri, content in fetched:
                if stop is not None:
                    stop()
                picture = self._take(uri, content, self._batch[len(waiting)], seconds)
                if isinstance(picture, Failure):
                    outcomes[uri] = picture
                else:
                    waiting.append(picture)
                self._beat()
                if len(waiting) == len(self._batch):
                    predict()
        if waiting:
            predict()
        predictor.raise_if_hopeless()
        return Classification(_in_order(uris, outcomes), seconds)

    def close(self) -> None:
        """End the threads that fetch, without waiting for slow servers."""
        self._source.close()

    def _take(
        self, uri: str, content: bytes | Failure, place: NDArray[np.uint8], seconds: StageSeconds
    ) -> Picture | Failure:
        """Decode `content` into its `place` in the batch."""
        if isinstance(content, Failure):
            return content
        start = perf_counter()
        try:
            decoded = decode(content, self._spec.input, self._settings.image_limits)
            if not isinstance(decoded, Decoded):
                return decoded
            place[...] = decoded.pixels
            content_hash = blake2b(content, digest_size=16).hexdigest()
            return Picture(uri, decoded.width, decoded.height, content_hash)
        except self._settings.pass_on:
            raise
        except Exception as error:  # noqa: BLE001  recorded on this image; its neighbours go on
            return Failure(Code.INTERNAL, f"decode: {type(error).__name__}: {error}")
        finally:
            seconds.decode += perf_counter() - start


def _in_order(uris: Sequence[str], outcomes: dict[str, Outcome]) -> list[Outcome]:
    """Return the outcome of every URI: no image leaves without one, whatever went wrong above."""
    missing = sum(uri not in outcomes for uri in uris)
    if missing:
        raise RuntimeError(f"{missing} of {len(uris)} images have no outcome")
    return [outcomes[uri] for uri in uris]
