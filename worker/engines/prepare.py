"""`python -m worker.engines.prepare MODEL`: download, convert and check a model, out of everyone's way.

Contract: exit 0 when the model can be served here (with `--remarks`, a line on standard output for
each thing that looks wrong), or exit 1 and one line on standard error that says
why not. TensorFlow's chatter goes to `HOME/converted/prepare.log`. Two at once are safe.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import ClassyardError, ModelError
from core.modelfiles import check_files
from core.modelspec import read_model
from core.prepare import engine_of, needs_trial, prepared_file, serving_engine
from core.settings import read_settings
from core.types import printable
from worker.engines.base import Child
from worker.engines.check import AGREEMENT, check_pixels, difference, require_finite, self_check
from worker.engines.drafts import chatter_to, locked, publishing
from worker.engines.hints import ask_keras, with_hint
from worker.engines.keeping import describe, keep_copy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import Settings

RANDOM_PICTURES: Final = 4


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be prepared, and the file that says so in the end."""

    spec: ModelSpec
    settings: Settings
    target: Path
    embeddings: bool


def main(arguments: list[str] | None = None) -> int:
    """Prepare one model; returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker.engines.prepare")
    parser.add_argument("model")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--engine", choices=("auto", "litert", "keras"))
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--remarks", action="store_true")
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(home=given.home, models_dir=given.models_dir, engine=given.engine)
        folder = settings.home / "converted"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with chatter_to(folder / "prepare.log"):
            prepare(given.model, settings, embeddings=given.embeddings)
            remarked = _remarks(given.model, settings) if given.remarks else []
    except ClassyardError as error:
        return _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - one line is the contract; the log has the rest
        said = str(error) if isinstance(error, OSError) else repr(error)
        return _refuse(f"model '{given.model}' cannot be prepared: {said}")
    for line in remarked:
        print(printable(line, 1000), flush=True)  # noqa: T201 - the contract
    return 0


def _remarks(name: str, settings: Settings) -> list[str]:
    from worker.engines.choose import load_engine
    from worker.engines.hints import remarks

    spec = read_model(name, settings.models_path)
    return remarks(load_engine(spec, settings), spec)


def _refuse(reason: str) -> int:
    print(printable(reason, 1000), file=sys.stderr, flush=True)  # noqa: T201 - the contract
    return 1


def prepare(name: str, settings: Settings, *, embeddings: bool = False) -> None:
    """Make sure that the model can be served here.

    Raises:
        ModelError: if it cannot.
    """
    _configure_keras(settings)
    spec = read_model(name, settings.models_path)
    if spec.application and not spec.weights.exists():
        from worker.engines.reading import download_weights

        with locked(settings.home / "converted" / "download.lock"):
            download_weights(spec)
        spec = read_model(name, settings.models_path)
    check_files(spec)
    if spec.members:
        for member in spec.members:
            prepare(member.name, settings, embeddings=embeddings)
        return
    target = prepared_file(spec, settings, embeddings=embeddings)
    task = Task(spec, settings, target, embeddings)
    with locked(target.with_suffix(".lock")):
        if engine_of(spec, settings) == "keras":
            _prove_keras(task)
        elif not _prove_converted(task):
            (_adopt if spec.source == "tflite" else _convert)(task)
        if needs_trial(spec, settings, embeddings=embeddings):
            from worker.engines.trial import keep_trial

            keep_trial(spec, target)


def _configure_keras(settings: Settings) -> None:
    """Say to Keras what it reads from the environment only; before it is imported."""
    environment = os.environ  # noqa: TID251
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if serving_engine(settings) == "litert":
        environment["KERAS_BACKEND"] = "tensorflow"  # the only one that converts
        environment["CUDA_VISIBLE_DEVICES"] = "-1"


def _convert(task: Task) -> None:
    """Convert, compare with Keras, check, and only then publish."""
    spec, settings = task.spec, task.settings
    try:
        from worker.engines.network import servable

        model = servable(spec, embeddings=task.embeddings)
    except ImportError as error:
        raise ModelError(
            f"model '{spec.name}' has to be converted once, which needs TensorFlow: "
            "pip install 'classyard[tensorflow]'"
        ) from error
    from worker.engines.litert import convert, load_litert

    with publishing(task.target) as draft:
        draft.write_bytes(convert(model, spec))
        engine = load_litert(spec, draft)
        pictures = _proof_pictures(spec, settings)
        # A network built for a number of pictures gets whole batches: some pictures twice.
        short = -len(pictures) % (model.input_shape[0] or 1)
        pictures = np.resize(pictures, (len(pictures) + short, *pictures.shape[1:]))
        ours = engine.predict(pictures)
        number = model.input_shape[0] or len(pictures)
        theirs = np.concatenate(
            [
                np.asarray(model.predict_on_batch(pictures[start : start + number]))
                for start in range(0, len(pictures), number)
            ]
        )
        require_finite(theirs, spec)
        apart = difference(ours, theirs)
        if not apart <= AGREEMENT:  # also refuses NaN
            raise ModelError(
                f"model '{spec.name}' answers otherwise once converted to LiteRT "
                f"(by {apart:.1e}): set CLASSYARD_ENGINE=keras"
            )
        try:
            self_check(engine, spec, settings.image_limits)
        except ModelError as error:
            raise with_hint(error, spec, settings.image_limits, ask_keras) from error
        _require_unchanged(spec, settings)
        describe(spec, task.target)


def _adopt(task: Task) -> None:
    """Keep a `.tflite` file that proved itself: jobs go on with it when the user's is replaced."""
    from worker.engines.flatbuffer import load_flatbuffer

    spec, settings = task.spec, task.settings
    with publishing(task.target) as draft:
        shutil.copyfile(spec.weights, draft)
        engine = load_flatbuffer(spec, draft, embeddings=task.embeddings)
        try:
            self_check(engine, spec, settings.image_limits)
        except ModelError as error:
            raise with_hint(
                error,
                spec,
                settings.image_limits,
                lambda other, pixels: load_flatbuffer(other, draft).predict(pixels),
            ) from error
        _require_unchanged(spec, settings)
        describe(spec, task.target)


def _require_unchanged(spec: ModelSpec, settings: Settings) -> None:
    """Refuse what was read while somebody replaced the files: it may be a bit of both.

    Raises:
        ModelError: if the model is another one by now.
    """
    if read_model(spec.name, settings.models_path).fingerprint != spec.fingerprint:
        raise ModelError(f"model '{spec.name}' was replaced while it was prepared: try again")


def _prove_converted(task: Task) -> bool:
    """Check what is there already, perhaps since a moment ago; False if that is no whole network."""
    from worker.engines.choose import load_prepared

    if not task.target.exists():
        return False
    try:
        engine = load_prepared(task.spec, task.target, task.settings, embeddings=task.embeddings)
    except ModelError:
        return False
    self_check(engine, task.spec, task.settings.image_limits)
    return True


def _prove_keras(task: Task) -> None:
    from worker.engines.keras import load_keras

    spec, settings = task.spec, task.settings
    with publishing(task.target):
        engine = load_keras(spec, settings, Child(), embeddings=task.embeddings)
        self_check(engine, spec, settings.image_limits)
        keep_copy(spec, task.target)
        _require_unchanged(spec, settings)
        describe(spec, task.target)


def _proof_pictures(spec: ModelSpec, settings: Settings) -> NDArray[np.uint8]:
    """Return random pictures, which no network knows, and the check image, which this one should."""
    random = np.random.default_rng(0)
    shape = (RANDOM_PICTURES, spec.input.height, spec.input.width, spec.input.channels)
    noise = random.integers(0, 256, shape, np.uint8)
    known = check_pixels(spec, settings.image_limits)
    return noise if known is None else np.concatenate([noise, known])


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # without C++ destructors: TensorFlow's may still write to the terminal
