"""The self-check: a model must name its own picture rightly before it names anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import ModelError
from core.types import Failure
from worker.answering import Answering

#: How far a probability may be off: float16 arithmetic, and quantised networks.
TOLERANCE: Final = 0.02
#: Largest difference between the scores of two engines that hold the same network.
AGREEMENT: Final = 1e-4

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.limits import ImageLimits
    from core.modelspec import ModelSpec
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
        ModelError: naming the label that was expected and the one that came, or what is wrong with
            the scores.
    """
    pixels = check_pixels(spec, limits)
    if pixels is None:
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        pixels = np.zeros(shape, np.uint8)
    answer = engine.predict(pixels)
    scores = answer[:, : answer.shape[1] - engine.embedding_size]
    _check_scores(scores, spec)
    if spec.check is None:
        return
    got = next(Answering(spec).answer(scores, 1))[0]
    if got.label != spec.check.label:
        raise ModelError(
            f"model '{spec.name}' fails its self-check: it calls {spec.check.image} '{got.label}' "
            f"({got.score:.2f}), not '{spec.check.label}': wrong weights or preprocessing"
        )


def difference(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return how far two engines' answers `[N, numbers]` are apart at most; NaN if one is no number.

    An embedding's numbers may be of any size: their differences are relative to that.
    """
    scale = np.maximum(1.0, np.abs(theirs).max(axis=1, keepdims=True))
    return float((np.abs(ours - theirs) / scale).max())


def require_finite(answer: NDArray[np.float32], spec: ModelSpec) -> None:
    """Refuse what is no number.

    Raises:
        ModelError: saying so.
    """
    if not np.isfinite(answer).all():
        raise ModelError(
            f"model '{spec.name}' gives scores that are not finite numbers: wrong weights or "
            "preprocessing"
        )


def _check_scores(scores: NDArray[np.float32], spec: ModelSpec) -> None:
    """Refuse what cannot be one probability per label."""
    if scores.shape[1:] != (len(spec.labels),):
        raise ModelError(
            f"model '{spec.name}' gives {scores.shape[-1]} scores for {len(spec.labels)} labels"
        )
    require_finite(scores, spec)
    low, high, total = float(scores.min()), float(scores.max()), float(scores.sum(axis=1).max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        better = "sigmoid_logits" if spec.output.independent else "logits"
        raise ModelError(
            f"model '{spec.name}' gives scores from {low:.2g} to {high:.2g}, which are no "
            f'probabilities: say output.activation = "{better}"'
        )
    # Rounded to 8 bits, a thousand of them may miss 1 by far more than rounding errors of floats.
    slack = TOLERANCE if spec.source != "tflite" else max(TOLERANCE, len(spec.labels) / 256)
    if not spec.output.independent and abs(total - 1) > slack:
        raise ModelError(
            f"model '{spec.name}' gives scores that sum to {total:.2f}, not 1: say "
            'output.activation = "logits" or "sigmoid"'
        )
