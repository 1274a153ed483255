"""The self-check: a model must name its own picture rightly before it names anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.errors import ModelError
from core.types import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import ImageLimits
    from worker.engines.base import Engine


def check_pixels(spec: ModelSpec, limits: ImageLimits) -> NDArray[np.uint8] | None:
    """Decode the spec's check image as any other picture; None if it has none.

    Raises:
        ModelError: if the picture cannot be read.
    """
    from worker.decode import decode

    if spec.check_image is None:
        return None
    try:
        decoded = decode(spec.check_image.read_bytes(), spec.input, limits)
    except OSError as error:
        raise ModelError(f"model '{spec.name}': check image: {error}") from error
    if isinstance(decoded, Failure):
        raise ModelError(f"model '{spec.name}': check image: {decoded.detail}")
    return decoded.pixels[None]


def self_check(engine: Engine, spec: ModelSpec, limits: ImageLimits) -> None:
    """Let the engine name the spec's check image; without one, only see that it answers.

    Raises:
        ModelError: naming the label that was expected and the one that came.
    """
    pixels = check_pixels(spec, limits)
    if pixels is None:
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        pixels = np.zeros(shape, np.uint8)
    scores = engine.predict(pixels)[0]
    if scores.shape != (len(spec.labels),) or not np.isfinite(scores).all():
        raise ModelError(f"model '{spec.name}' does not give {len(spec.labels)} finite scores")
    if spec.check is None:
        return
    got = spec.labels[int(scores.argmax())]
    if got != spec.check.label:
        raise ModelError(
            f"model '{spec.name}' fails its self-check: it calls {spec.check.image} '{got}' "
            f"({scores.max():.2f}), not '{spec.check.label}': wrong weights or preprocessing"
        )
