"""The models a child holds in memory, loaded when first asked for."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from core.errors import ModelError
from core.modelspec import read_model
from core.prepare import serving_engine, visible_gpus
from worker.fetch import Fetcher
from worker.identity import cores
from worker.stub import StubClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.modelspec import ModelSpec
    from core.settings import Settings
    from core.types import Classification, Classified
    from worker.engines.base import Child

#: Models kept at once; the one not used for longest makes room.
MOST_MODELS = 4


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


class Models:
    """A child's models by name and fingerprint."""

    def __init__(
        self,
        settings: Settings,
        child: Child,
        beat: Callable[[], None],
        pass_on: tuple[type[Exception], ...],
        loaded: Callable[[str, float, int], None] = lambda *_: None,
    ) -> None:
        """Hold no model yet. `loaded` is told each one's name, seconds and batch size."""
        self._settings = settings
        self._child = child
        self._beat = beat
        self._pass_on = pass_on
        self._on_loaded = loaded
        self._fetcher = Fetcher(settings.fetch_limits)
        self._loaded: OrderedDict[tuple[str, str], Classifier] = OrderedDict()

    def get(self, name: str, fingerprint: str) -> Classifier:
        """Return the classifier of a model, loading it if it is not in memory.

        Raises:
            ModelError: if it cannot be loaded here, or is another one than was asked for.
        """
        key = (name, fingerprint)
        if key not in self._loaded:
            while len(self._loaded) >= MOST_MODELS:
                self._loaded.popitem(last=False)[1].close()
            started = perf_counter()
            classifier = self._loaded[key] = self._load(name, fingerprint)
            self._on_loaded(name, perf_counter() - started, classifier.batch_size)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def preload(self, name: str) -> None:
        """Load a model before it is asked for.

        Raises:
            ModelError: if it cannot be loaded here.
        """
        self.get(name, read_model(name, self._settings.models_path).fingerprint)

    def close(self) -> None:
        """Let go of everything."""
        for classifier in self._loaded.values():
            classifier.close()
        self._loaded.clear()
        self._fetcher.close()

    def _load(self, name: str, fingerprint: str) -> Classifier:
        spec = read_model(name, self._settings.models_path)
        if self._settings.engine == "stub":
            return StubClassifier(spec.labels)
        classifier = self._load_pipeline(spec)
        found = read_model(name, self._settings.models_path).fingerprint
        if found != fingerprint:
            raise ModelError(
                f"model '{name}' here has fingerprint {found[:12]}, the job asks for "
                f"{fingerprint[:12]}: its files differ from the submitter's"
            )
        return classifier

    def _load_pipeline(self, spec: ModelSpec) -> Classifier:
        from worker.engines.choose import load_engine
        from worker.pipeline import Pipeline, PipelineSettings

        settings = PipelineSettings(
            image_limits=self._settings.image_limits,
            batch_size=self._settings.batch_size,
            fetch_ahead=self._settings.fetch_ahead,
            decode_threads=decode_threads(self._settings, self._child),
            pass_on=self._pass_on,
        )
        engine = load_engine(spec, self._settings, self._child)
        return Pipeline(self._fetcher, engine, spec, settings, self._beat)


def decode_threads(settings: Settings, child: Child) -> int:
    """Return how many threads a child decodes in: none on a CPU, which the model keeps busy itself.

    A GPU leaves the cores to the decoders: they are shared out among the children.
    """
    if settings.decode_threads:
        return settings.decode_threads
    if serving_engine(settings) == "keras" and visible_gpus():
        return max(2, cores() // child.count)
    return 0
