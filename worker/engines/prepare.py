"""`python -m worker.engines.prepare MODEL`: download, convert and check a model, out of everyone's way.

Contract: exit 0 when the model can be served here, or exit 1 and one line on standard error that says
why not. TensorFlow's chatter goes to `HOME/converted/prepare.log`. Two at once are safe.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import ClassyardError, ModelError
from core.modelfiles import check_files
from core.modelspec import read_model
from core.prepare import prepared_file, serving_engine
from core.settings import read_settings
from core.types import printable
from worker.engines.base import Child
from worker.engines.check import check_pixels, self_check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import Settings

#: Largest difference between a score of Keras and one of the converted network.
AGREEMENT: Final = 1e-4
RANDOM_PICTURES: Final = 4


def main(arguments: list[str] | None = None) -> int:
    """Prepare one model; returns the exit status."""
    parser = argparse.ArgumentParser(prog="worker.engines.prepare")
    parser.add_argument("model")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--engine", choices=("auto", "litert", "keras"))
    given = parser.parse_args(arguments)
    try:
        settings = read_settings(home=given.home, models_dir=given.models_dir, engine=given.engine)
        folder = settings.home / "converted"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _chatter_to(folder / "prepare.log"):
            prepare(given.model, settings)
    except ClassyardError as error:
        return _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - one line is the contract; the log has the rest
        said = str(error) if isinstance(error, OSError) else repr(error)
        return _refuse(f"model '{given.model}' cannot be prepared: {said}")
    return 0


def _refuse(reason: str) -> int:
    print(printable(reason, 1000), file=sys.stderr)  # noqa: T201 - the contract
    return 1


def prepare(name: str, settings: Settings) -> None:
    """Make sure that the model can be served here.

    Raises:
        ModelError: if it cannot.
    """
    _configure_keras(settings)
    spec = read_model(name, settings.models_path)
    if spec.application and not spec.weights.exists():
        from worker.engines.network import download_weights

        with _locked(settings.home / "converted" / "download.lock"):
            download_weights(spec)
        spec = read_model(name, settings.models_path)
    check_files(spec)
    target = prepared_file(spec, settings)
    with _locked(target.with_suffix(".lock")):
        if serving_engine(settings) == "keras":
            _prove_keras(spec, settings, target)
        elif not _prove_converted(spec, settings, target):
            _convert(spec, settings, target)


def _configure_keras(settings: Settings) -> None:
    """Say to Keras what it reads from the environment only; before it is imported."""
    environment = os.environ  # noqa: TID251
    environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
    if serving_engine(settings) == "litert":
        environment["KERAS_BACKEND"] = "tensorflow"  # the only one that converts
        environment["CUDA_VISIBLE_DEVICES"] = "-1"


def _convert(spec: ModelSpec, settings: Settings, target: Path) -> None:
    """Convert, compare with Keras, check, and only then publish."""
    try:
        from worker.engines.network import servable

        model = servable(spec)
    except ImportError as error:
        raise ModelError(
            f"model '{spec.name}' has to be converted once, which needs TensorFlow: "
            "pip install 'classyard[tensorflow]'"
        ) from error
    from worker.engines.litert import convert, load_litert

    with _publishing(target) as draft:
        draft.write_bytes(convert(model, spec))
        engine = load_litert(spec, draft)
        pictures = _trial_pictures(spec, settings)
        ours = engine.predict(pictures)
        theirs = np.asarray(model.predict_on_batch(pictures))
        difference = float(np.abs(ours - theirs).max())
        if not difference <= AGREEMENT:  # also refuses NaN
            raise ModelError(
                f"model '{spec.name}' answers otherwise once converted to LiteRT "
                f"(by {difference:.1e}): set CLASSYARD_ENGINE=keras"
            )
        self_check(engine, spec, settings.image_limits)


def _prove_converted(spec: ModelSpec, settings: Settings, target: Path) -> bool:
    """Check what is there already, perhaps since a moment ago; False if that is no whole network."""
    from worker.engines.litert import load_litert

    if not target.exists():
        return False
    try:
        engine = load_litert(spec, target)
    except ModelError:
        return False
    self_check(engine, spec, settings.image_limits)
    return True


def _prove_keras(spec: ModelSpec, settings: Settings, target: Path) -> None:
    from worker.engines.keras import load_keras

    with _publishing(target):
        self_check(load_keras(spec, settings, Child()), spec, settings.image_limits)


def _trial_pictures(spec: ModelSpec, settings: Settings) -> NDArray[np.uint8]:
    """Return random pictures, which no network knows, and the check image, which this one should."""
    random = np.random.default_rng(0)
    shape = (RANDOM_PICTURES, spec.input.height, spec.input.width, spec.input.channels)
    noise = random.integers(0, 256, shape, np.uint8)
    known = check_pixels(spec, settings.image_limits)
    return noise if known is None else np.concatenate([noise, known])


@contextmanager
def _publishing(target: Path) -> Iterator[Path]:
    """Yield a draft that becomes `target`, whole and on disk, unless the block fails."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="draft-")
    draft = Path(name)
    try:
        yield draft
        os.fsync(handle)
        draft.replace(target)
    finally:
        os.close(handle)
        draft.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process prepares the same thing; the kernel unlocks if we die."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _chatter_to(log: Path) -> Iterator[None]:
    """Send all that libraries write to the terminal, from Python or C++, to a log file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with log.open("w") as file:
        for stream, _ in kept:
            os.dup2(file.fileno(), stream)
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, copy in kept:
                os.dup2(copy, stream)
                os.close(copy)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # without C++ destructors: TensorFlow's may still write to the terminal
