"""What may be wrong with a model that runs: another preprocessing suspected, an answer to everything."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import ValidationError

from core.errors import ModelError
from core.modelparts import InputSpec
from worker.answering import Answering
from worker.engines.check import check_pixels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from core.limits import ImageLimits
    from core.model import ModelSpec
    from worker.engines.base import Engine

_PREPROCESSINGS: Final = ("unit", "tf", "torch", "caffe", "none")

#: Scores that differ by less between pictures as unlike as these are the same answer.
_SAME: Final = 0.01


def with_hint(
    error: ModelError,
    spec: ModelSpec,
    limits: ImageLimits,
    ask: Callable[[ModelSpec, NDArray[np.uint8]], NDArray[np.float32]],
) -> ModelError:
    """Return a failed self-check's error, saying which other preprocessing would pass it, if one does.

    `ask` gives the scores of pixels under another spec of the same network.
    """
    pixels = check_pixels(spec, limits)
    if spec.check is None or pixels is None:
        return error
    passing: list[tuple[float, str]] = []
    for word in _PREPROCESSINGS:
        if word == spec.input.preprocessing:
            continue
        words = {**spec.input.model_dump(), "preprocessing": word, "mean": 0.0, "std": 1.0}
        try:
            other = dataclasses.replace(spec, input=InputSpec.model_validate(words))
        except ValidationError:
            continue  # `caffe` and `torch` know no grey pictures
        best = next(Answering(other).answer(ask(other, pixels), 1))[0]
        if best.label == spec.check.label:
            passing.append((best.score, word))
    if not passing:
        return error
    score, word = max(passing)
    return ModelError(f'{error}: with preprocessing = "{word}" it is right ({score:.2f})')


def ask_keras(spec: ModelSpec, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Score pixels as the Keras model of a spec does."""
    from worker.engines.network import servable

    model = servable(spec)
    number = model.input_shape[0] or 1
    scores: NDArray[np.float32] = model.predict_on_batch(np.repeat(pixels, number, axis=0))
    return scores[:1]


def remarks(engine: Engine, spec: ModelSpec) -> list[str]:
    """Return what looks wrong, though nothing proves it, one line each."""
    found = []
    if spec.check is None:
        found.append(
            "no [check] picture: nothing proves weights, preprocessing and order of labels"
        )
    shape = (spec.input.height, spec.input.width, spec.input.channels)
    pictures = _trial_pictures(shape)
    answers = np.concatenate([engine.predict(picture[None]) for picture in pictures])[
        :, : len(spec.labels)
    ]
    spread = float(np.ptp(answers, axis=0).max())
    if spread < _SAME:
        label = spec.labels[int(answers[0].argmax())]
        found.append(
            f"nearly the same scores for every trial picture ('{label}' {answers[0].max():.2f}): wrong scaling "
            f"suspected: preprocessing is '{spec.input.preprocessing}'"
        )
    return found


def _trial_pictures(shape: tuple[int, int, int]) -> list[NDArray[np.uint8]]:
    """Return pictures as unlike each other as can be: plain, striped, noisy, bright and dark."""
    random = np.random.default_rng(0)
    rows = np.linspace(0, 255, shape[0])[:, None, None]
    columns = np.linspace(0, 255, shape[1])[None, :, None]
    stripes = 255 * (np.arange(shape[1]) // 8 % 2)[None, :, None]
    plain = [np.full(shape, level) for level in (0, 64, 128, 255)]
    drawn = [np.broadcast_to(one, shape) for one in (rows, columns, stripes)]
    noisy = [random.integers(0, top, shape) for top in (64, 256)]
    return [np.ascontiguousarray(one, np.uint8) for one in (*plain, *drawn, *noisy)]
