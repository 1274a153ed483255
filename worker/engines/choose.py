"""Choose the engine that serves a model here, load it, and let it prove itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ModelError
from core.prepare import prepare_model, prepared_file, serving_engine
from worker.engines.base import Child
from worker.engines.check import self_check

if TYPE_CHECKING:
    from core.modelspec import ModelSpec
    from core.settings import Settings
    from worker.engines.base import Engine

__all__ = ["Child", "load_engine", "prepare_model"]


def load_engine(spec: ModelSpec, settings: Settings, child: Child | None = None) -> Engine:
    """Load a model: prepared if need be, warmed up, and checked against its own picture.

    Raises:
        ModelError: one line that says why the model cannot be served here.
    """
    spec = prepare_model(spec, settings)
    if serving_engine(settings) == "keras":
        from worker.engines.keras import load_keras

        engine: Engine = load_keras(spec, settings, child or Child())
    else:
        engine = _load_litert(spec, settings)
    self_check(engine, spec, settings.image_limits)
    return engine


def _load_litert(spec: ModelSpec, settings: Settings) -> Engine:
    from worker.engines.litert import load_litert

    path = prepared_file(spec, settings)
    try:
        return load_litert(spec, path)
    except ModelError:
        # A disk may have lost what we converted long ago; the original is still there.
        prepare_model(spec, settings, again=True)
        return load_litert(spec, path)
