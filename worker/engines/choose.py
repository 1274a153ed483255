"""Choose the engine that serves a model here, load it, and let it prove itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core import trial
from core.errors import ModelError
from core.prepare import engine_of, prepare_model, prepared_file
from worker.engines.base import Child
from worker.engines.check import self_check
from worker.engines.combine import Ensemble, flipped
from worker.engines.embedding import LONGEST

if TYPE_CHECKING:
    from pathlib import Path

    from core.kept import Kept
    from core.modelspec import ModelSpec
    from core.settings import Settings
    from worker.engines.base import Engine

log = logging.getLogger("classyard.worker")

__all__ = ["Child", "load_engine", "load_kept", "load_prepared", "prepare_model"]


def load_engine(
    spec: ModelSpec,
    settings: Settings,
    child: Child | None = None,
    *,
    embeddings: bool = False,
) -> Engine:
    """Load a model: prepared if need be, warmed up, and checked against its own picture.

    Raises:
        ModelError: one line that says why the model cannot be served here.
    """
    if spec.members:
        prepare_model(spec, settings, embeddings=embeddings)
        engines = [
            load_engine(member, settings, child, embeddings=embeddings) for member in spec.members
        ]
        together = _together(engines, spec)
        self_check(together, spec, settings.image_limits)
        return together
    given = spec
    spec = prepare_model(spec, settings, embeddings=embeddings)
    if given.weights.exists() and given.fingerprint != spec.fingerprint:
        raise ModelError(f"model '{spec.name}' was replaced while it was prepared: try again")
    if engine_of(spec, settings) == "keras":
        from worker.engines.keras import load_keras

        engine = flipped(load_keras(spec, settings, child or Child(), embeddings=embeddings), spec)
    else:
        engine = _load_litert(spec, settings, embeddings=embeddings)
    self_check(engine, spec, settings.image_limits)
    return engine


def load_kept(kept: Kept, settings: Settings, child: Child) -> Engine:
    """Load a model as it was when it was prepared.

    Raises:
        ModelError: if what was kept is no network of this model.
    """
    if kept.members:
        engines = [load_kept(member, settings, child) for member in kept.members]
        return _together(engines, kept.spec)
    if kept.engine == "keras":
        from worker.engines.keras import load_keras

        engine = load_keras(kept.spec, settings, child, embeddings=kept.embeddings)
        return flipped(engine, kept.spec)
    return load_prepared(kept.spec, kept.path, settings, embeddings=kept.embeddings)


def _together(engines: list[Engine], spec: ModelSpec) -> Engine:
    ensemble = Ensemble(engines, spec.shares)
    if ensemble.embedding_size > LONGEST:
        raise ModelError(
            f"model '{spec.name}': its members' embeddings are too long together "
            f"({ensemble.embedding_size} numbers, most: {LONGEST})"
        )
    return flipped(ensemble, spec)


def load_prepared(
    spec: ModelSpec, path: Path, settings: Settings, *, embeddings: bool = False
) -> Engine:
    """Read what was converted for LiteRT into memory and run it once.

    Raises:
        ModelError: if the file is not a network of this model.
    """
    if spec.source == "tflite":
        from worker.engines.flatbuffer import load_flatbuffer

        return flipped(load_flatbuffer(spec, path, embeddings=embeddings), spec)
    if trial.runner(path, settings) == "openvino":
        from worker.engines.openvino import load_openvino

        log.info("model %s is run by OpenVINO", spec.name, extra={"action": "engine_chosen"})
        return flipped(load_openvino(spec, path, settings.precision), spec)
    from worker.engines.litert import load_litert

    return flipped(load_litert(spec, path), spec)


def _load_litert(spec: ModelSpec, settings: Settings, *, embeddings: bool) -> Engine:
    path = prepared_file(spec, settings, embeddings=embeddings)
    try:
        return load_prepared(spec, path, settings, embeddings=embeddings)
    except ModelError:
        # A disk may have lost what we converted long ago; the original is still there.
        prepare_model(spec, settings, again=True, embeddings=embeddings)
        return load_prepared(spec, path, settings, embeddings=embeddings)
