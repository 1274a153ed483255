"""Pipeline: the URIs of a chunk become outcomes: fetch -> decode -> batch -> predict -> top-k.

An image's failure is a value beside its neighbours' answers; only what concerns the whole chunk (a
model that fails every image, a call to stop) is raised. Knows neither messages nor tables.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import Code
from core.types import Classification, Failure, StageSeconds
from worker.answering import Answering
from worker.contenthash import hash_of
from worker.decode import Decoded, decode, prepare
from worker.pipeline.fetching import FetchAhead, Opened, Threads
from worker.pipeline.predicting import Picture, Predictor
from worker.pipeline.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from core.limits import ImageLimits
    from core.modelspec import ModelSpec
    from core.types import Classified, Outcome
    from worker.engines.base import Engine
    from worker.fetch import Fetcher
    from worker.pipeline.fetching import Content, Fetched
    from worker.pipeline.turns import Batch

    Reuse = Callable[[str], Classified | None]

#: Pictures decoded in a row, then predicted in a row, for an engine that takes one at a time: code and
#: weights of one stage stay in the processor's caches (docs/benchmarks.md).
GROUP: Final = 8


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How a pipeline works.

    With `decode_threads`, pictures are decoded in threads, two batches ahead of the model, and the
    model is called in a thread of its own: for an engine that leaves this process's cores idle.
    `pass_on` are exceptions that are no image's fault though
    they may surface in the middle of one (a time limit raised by a signal): never made a `Failure`.
    """

    image_limits: ImageLimits
    fetch_ahead: int = 16
    decode_threads: int = 0
    pass_on: tuple[type[Exception], ...] = ()


class Pipeline:
    """Classifies chunk after chunk with one model, in one thread (plus threads that work ahead)."""

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
        self._engine = engine
        self._spec = spec
        self._answering = Answering(spec)
        self._settings = settings
        self._beat = beat
        size = GROUP if engine.batch_size == 1 else engine.batch_size
        shape = (size, spec.input.height, spec.input.width, spec.input.channels)

        def new_batch() -> Batch:
            # What is given to the engine one by one need not lie together: that saves a copy.
            nothing = np.empty(0, np.uint8)
            return [nothing] * size if engine.batch_size == 1 else np.empty(shape, np.uint8)

        self._turns = Turns(new_batch, aside=settings.decode_threads > 0)
        ahead = settings.fetch_ahead
        if settings.decode_threads:
            ahead = max(ahead, 2 * size)
        remote = max(settings.fetch_ahead, settings.decode_threads)
        threads = Threads(local=max(1, settings.decode_threads), remote=remote)
        self._source = FetchAhead(fetcher, ahead, threads, settings.pass_on)

    @property
    def batch_size(self) -> int:
        """Most images in one model call."""
        return self._engine.batch_size

    def classify(
        self,
        uris: Sequence[str],
        roots: Sequence[Path],
        top_k: int,
        stop: Callable[[], None] | None = None,
        reuse: Callable[[str], Classified | None] | None = None,
    ) -> Classification:
        """Return one outcome per URI, in the same order; a URI given twice is classified once.

        `stop` is called before every picture and may raise, to hand the chunk back. `reuse` may know
        the answer to a content hash; then nothing is decoded or predicted.

        Raises:
            Exception: the engine's last one, if it raised for every single picture of the chunk.
        """
        seconds = StageSeconds()
        outcomes: dict[str, Outcome] = {}
        predictor = Predictor(self._engine, self._answering, top_k, self._settings.pass_on)

        def answer(pictures: list[Picture], batch: Batch) -> dict[str, Outcome]:
            return dict(predictor.predict(pictures, batch, self._beat))

        turn = self._turns.begin(answer)

        def take(answers: Callable[[], dict[str, Outcome]]) -> None:
            start = perf_counter()
            outcomes.update(answers())
            seconds.predict += perf_counter() - start

        for uri, content in self._contents(uris, roots, seconds, reuse):
            if stop is not None:
                stop()
            opened = self._opened(content, seconds, reuse)
            self._beat()
            if not isinstance(opened, Opened):
                outcomes[uri] = opened
            elif turn.add(_picture(uri, opened), opened.pixels):
                take(turn.send)
        take(turn.finish)
        predictor.raise_if_hopeless()
        return Classification(_in_order(uris, outcomes), seconds)

    def close(self) -> None:
        """End the threads, without waiting for slow servers."""
        self._turns.close()
        self._source.close()

    def _contents(
        self,
        uris: Sequence[str],
        roots: Sequence[Path],
        seconds: StageSeconds,
        reuse: Reuse | None,
    ) -> Iterator[Fetched]:
        """Yield every URI once with its bytes, or, decoded ahead, with its picture."""
        # What may be known already is not decoded in vain.
        ahead = self._settings.decode_threads > 0 and reuse is None
        then = self._open if ahead else _as_is
        fetched = self._source.fetch_all(dict.fromkeys(uris), roots, seconds, then, local_too=ahead)
        with closing(fetched):
            yield from fetched

    def _opened(
        self, content: Content, seconds: StageSeconds, reuse: Reuse | None
    ) -> Opened | Outcome:
        """Return the decoded picture, unless its answer is known."""
        if isinstance(content, Failure):
            return content
        if isinstance(content, Opened):
            seconds.decode += content.seconds  # in a thread, beside this one
            return content
        start = perf_counter()
        try:
            content_hash = hash_of(content)
            if reuse is not None and (known := reuse(content_hash)) is not None:
                return known
            return self._open(content, content_hash)
        finally:
            seconds.decode += perf_counter() - start

    def _open(self, content: bytes, content_hash: str = "") -> Opened | Failure:
        """Decode `content`."""
        start = perf_counter()
        try:
            decoded = decode(content, self._spec.input, self._settings.image_limits)
        except self._settings.pass_on:
            raise
        except Exception as error:  # noqa: BLE001  recorded on this image; its neighbours go on
            return Failure(Code.INTERNAL, f"decode: {type(error).__name__}: {error}")
        if not isinstance(decoded, Decoded):
            return decoded
        return Opened(
            decoded.pixels,
            decoded.width,
            decoded.height,
            content_hash or hash_of(content),
            perf_counter() - start,
        )


def _picture(uri: str, opened: Opened) -> Picture:
    return Picture(uri, opened.width, opened.height, opened.content_hash)


def _as_is(content: bytes) -> bytes:
    return content


def _in_order(uris: Sequence[str], outcomes: dict[str, Outcome]) -> list[Outcome]:
    """Return the outcome of every URI: no image leaves without one, whatever went wrong above."""
    missing = sum(uri not in outcomes for uri in uris)
    if missing:
        raise RuntimeError(f"{missing} of {len(uris)} images have no outcome")
    return [outcomes[uri] for uri in uris]
