"""Try a converted network in both engines, and keep which is faster (`core.trial`)."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np

from core.trial import Trial, processor, trial_file, written
from worker.engines.check import AGREEMENT, difference
from worker.engines.drafts import publishing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from worker.engines.base import Engine

#: How many times as fast OpenVINO must be: it takes more memory, and a trial is short.
MARGIN: Final = 1.15
#: Images in either engine, in turns; and how many, in one call, must have the same scores in both.
ROUNDS: Final = 7
COMPARED: Final = 3


def keep_trial(spec: ModelSpec, prepared: Path) -> None:
    """Run random pictures through both engines and write down how long they took.

    Raises:
        ModelError: if LiteRT cannot read what was prepared for it.
    """
    from worker.engines.litert import load_litert

    litert = load_litert(spec, prepared)
    try:
        from worker.engines.openvino import load_openvino

        trial = compare(litert, load_openvino(spec, prepared, "single"), spec)
    except Exception as error:  # noqa: BLE001  a rival that fails is none; LiteRT serves all the same
        print(f"OpenVINO cannot serve '{spec.name}': {error}", flush=True)  # noqa: T201  into the log
        trial = Trial("litert", seconds([litert], _pictures(spec, 1))[0], None, processor())
    with publishing(trial_file(prepared)) as draft:
        draft.write_text(written(trial), "utf-8")


def compare(litert: Engine, openvino: Engine, spec: ModelSpec) -> Trial:
    """Return the trial of two engines that hold the same network."""
    pictures = _pictures(spec, COMPARED)
    apart = difference(openvino.predict(pictures), litert.predict(pictures))
    first, second = seconds([litert, openvino], pictures[:1])
    taken = apart <= AGREEMENT and first >= MARGIN * second
    return Trial("openvino" if taken else "litert", first, second, processor())


def seconds(engines: list[Engine], pictures: NDArray[np.uint8]) -> list[float]:
    """Return the median time of a call of each, in turns."""
    spent: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for engine, times in zip(engines, spent, strict=True):
            start = perf_counter()
            engine.predict(pictures)
            times.append(perf_counter() - start)
    return [median(times) for times in spent]


def _pictures(spec: ModelSpec, count: int) -> NDArray[np.uint8]:
    shape = (count, spec.input.height, spec.input.width, spec.input.channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
