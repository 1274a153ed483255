"""The models a child holds in memory, loaded when first asked for."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from core.errors import ModelError
from core.gpus import usable_gpus
from core.kept import read_kept
from core.modelspec import read_model
from core.prepare import serving_engine
from worker.fetch import Fetcher
from worker.identity import cores
from worker.stub import StubClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.kept import Kept
    from core.modelspec import ModelSpec
    from core.settings import Settings
    from core.types import Classification, Classified
    from worker.engines.base import Child, Engine
    from worker.fetch.board import Board


class Classifier(Protocol):
    """What turns a chunk's URIs into outcomes."""

    @property
    def batch_size(self) -> int:
        """Most images in one model call."""
        ...

    def classify(
        self,
        uris: Sequence[str],
        roots: Sequence[Path],
        top_k: int,
        stop: Callable[[], None] | None = None,
        reuse: Callable[[str], Classified | None] | None = None,
    ) -> Classification:
        """Return one outcome per URI, in the same order."""
        ...

    def close(self) -> None:
        """Let go of threads and connections."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and the size of its files in bytes."""

    classifier: Classifier
    size: int


class Models:
    """A child's models by name and fingerprint."""

    def __init__(
        self,
        settings: Settings,
        child: Child,
        beat: Callable[[], None],
        pass_on: tuple[type[Exception], ...],
        loaded: Callable[[str, float, int], None] = lambda *_: None,
        board: Board | None = None,
    ) -> None:
        """Hold no model yet.

        `loaded` is told each one's name, seconds and batch size; `board` is what all children know
        of the hosts they ask.
        """
        self._settings = settings
        self._child = child
        self._beat = beat
        self._pass_on = pass_on
        self._on_loaded = loaded
        self._fetcher = Fetcher(settings.fetch_limits, board=board)
        self._loaded: OrderedDict[tuple[str, str, bool], Loaded] = OrderedDict()

    def get(self, name: str, fingerprint: str, *, embeddings: bool = False) -> Classifier:
        """Return the classifier of a model, loading it if it is not in memory.

        With `embeddings` its outcomes carry one each.

        Raises:
            ModelError: if it cannot be loaded here, or is another one than was asked for.
        """
        key = (name, fingerprint, embeddings)
        if key not in self._loaded:
            started = perf_counter()
            loaded = self._loaded[key] = self._load(name, fingerprint, embeddings)
            size = loaded.classifier.batch_size
            self._on_loaded(name, perf_counter() - started, size)
        self._loaded.move_to_end(key)
        return self._loaded[key].classifier

    def preload(self, name: str) -> None:
        """Load a model before it is asked for.

        Raises:
            ModelError: if it cannot be loaded here.
        """
        self.get(name, read_model(name, self._settings.models_path).fingerprint)

    def close(self) -> None:
        """Let go of everything."""
        for loaded in self._loaded.values():
            loaded.classifier.close()
        self._loaded.clear()
        self._fetcher.close()

    def _load(self, name: str, fingerprint: str, embeddings: bool) -> Loaded:
        models_path = self._settings.models_path
        try:
            spec: ModelSpec | None = read_model(name, models_path)
            if self._settings.engine == "stub" and spec:
                return Loaded(StubClassifier(spec.labels), 0)
            found = spec.fingerprint if spec else ""
        except ModelError:
            spec, found = None, ""
            if self._settings.engine == "stub":
                raise
        if spec and found == fingerprint:
            return self._load_current(spec, embeddings)
        # Replaced or gone since the job was submitted: the job keeps the model it was given.
        kept = read_kept(fingerprint, self._settings, embeddings=embeddings)
        if kept is not None:
            return self._load_kept(kept)
        here = f"fingerprint {found[:12]}" if found else "no such model"
        raise ModelError(
            f"model '{name}' here has {here}, the job asks for {fingerprint[:12]}: its files differ "
            "from the submitter's or were replaced since: put those back, or submit again"
        )

    def _load_current(self, spec: ModelSpec, embeddings: bool) -> Loaded:
        from worker.engines.choose import load_engine

        self._make_room(spec.size)
        engine = load_engine(spec, self._settings, self._child, embeddings=embeddings)
        return Loaded(self._pipeline(spec, engine), spec.size)

    def _load_kept(self, kept: Kept) -> Loaded:
        from worker.engines.choose import load_kept

        self._make_room(kept.size)
        engine = load_kept(kept, self._settings, self._child)
        return Loaded(self._pipeline(kept.spec, engine), kept.size)

    def _make_room(self, size: int) -> None:
        """Let go of the models that were not used for longest until `size` bytes more will fit."""
        bound = self._settings.model_memory
        while self._loaded and size + sum(one.size for one in self._loaded.values()) > bound:
            self._loaded.popitem(last=False)[1].classifier.close()

    def _pipeline(self, spec: ModelSpec, engine: Engine) -> Classifier:
        from worker.pipeline import Pipeline, PipelineSettings

        settings = PipelineSettings(
            image_limits=self._settings.image_limits,
            fetch_ahead=self._settings.fetch_ahead,
            decode_threads=decode_threads(self._settings, self._child),
            pass_on=self._pass_on,
        )
        return Pipeline(self._fetcher, engine, spec, settings, self._beat)


def decode_threads(settings: Settings, child: Child) -> int:
    """Return how many threads a child decodes in: none on a CPU, which the model keeps busy itself.

    A GPU leaves the cores to the decoders: they are shared out among the children.
    """
    if settings.decode_threads:
        return settings.decode_threads
    if serving_engine(settings) == "keras" and usable_gpus():
        return max(2, cores() // child.count)
    return 0
