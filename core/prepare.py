"""Make a model ready to be served on this machine, in a process of its own.

What is slow or chatty (TensorFlow, the conversion, a download) happens in `worker.engines.prepare`.
Its contract: exit 0, or exit 1 with exactly one line on standard error. The rest of its chatter is
in `HOME/converted/prepare.log`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal

from core import trial
from core.errors import ClassyardError, ModelError
from core.gpus import usable_gpus
from core.kept import keep_ensemble
from core.modelfiles import check_embeddings, check_files
from core.modelspec import read_model

if TYPE_CHECKING:
    from core.modelspec import ModelSpec
    from core.settings import Settings

#: Part of the name of a converted file: raise it when `worker.engines` builds another graph.
CONVERTER: Final = 2

#: Seconds for a download and a conversion: minutes on a slow line, but never forever.
PREPARE_TIMEOUT: Final = 1800

ServingEngine = Literal["litert", "keras"]


def serving_engine(settings: Settings) -> ServingEngine:
    """Return what `CLASSYARD_ENGINE` means on this machine: which kind of network is prepared.

    OpenVINO runs what was converted for LiteRT.
    """
    if settings.engine == "keras" or (settings.engine == "auto" and usable_gpus()):
        return "keras"
    return "litert"


def engine_of(spec: ModelSpec, settings: Settings) -> ServingEngine:
    """Return the engine that serves a model here: only LiteRT runs `.tflite` files."""
    return "litert" if spec.source == "tflite" else serving_engine(settings)


def prepared_name(fingerprint: str, engine: ServingEngine, embeddings: bool) -> str:
    """Return what the file is called that says that a model is ready."""
    ending = "tflite" if engine == "litert" else "keras.checked"
    return f"{fingerprint}-{CONVERTER}{'-embedding' if embeddings else ''}.{ending}"


def prepared_file(spec: ModelSpec, settings: Settings, *, embeddings: bool = False) -> Path:
    """Return the file whose presence says that the model is ready: for LiteRT, the network itself.

    With `embeddings` the network that gives these, too.

    Raises:
        ModelError: if the weights cannot be read.
    """
    name = prepared_name(spec.fingerprint, engine_of(spec, settings), embeddings)
    return settings.home / "converted" / name


def needs_trial(spec: ModelSpec, settings: Settings, *, embeddings: bool = False) -> bool:
    """Whether it is yet to be seen which engine runs a model's converted network faster here."""
    if spec.source == "tflite" or engine_of(spec, settings) == "keras":
        return False
    return trial.due(prepared_file(spec, settings, embeddings=embeddings), settings)


def require_worker() -> None:
    """Refuse to start what needs the worker's packages where only a producer is installed.

    Raises:
        ClassyardError: saying what to install.
    """
    if find_spec("numpy") is None or find_spec("PIL") is None:
        raise ClassyardError(
            "only the producer is installed here: pip install 'classyard[worker,tensorflow]', "
            "or let a worker elsewhere serve what 'classyard submit' submits"
        )


def require_engine(settings: Settings) -> None:
    """Refuse an engine that is not installed.

    Raises:
        ClassyardError: saying what to install.
    """
    require_worker()
    if settings.engine == "openvino" and find_spec("openvino") is None:
        raise ClassyardError(
            "CLASSYARD_ENGINE=openvino needs OpenVINO: pip install 'classyard[openvino]'"
        )


def prepare_model(
    spec: ModelSpec, settings: Settings, *, again: bool = False, embeddings: bool = False
) -> ModelSpec:
    """Make sure that the model can be served here: weights found, converted, and checked.

    Takes milliseconds when that was done before, else ten seconds or so.

    Args:
        spec: The model.
        settings: Says where things are and which engine serves.
        again: Check once more, although it was done before.
        embeddings: Whether embeddings are asked for.

    Returns:
        The spec as it stands now: a download may have changed where the weights are.

    Raises:
        ClassyardError: one line that says what is missing or wrong.
    """
    if settings.engine == "stub":
        return spec
    require_engine(settings)
    if embeddings:
        check_embeddings(spec)
    if spec.members:
        for member in spec.members:
            prepare_model(member, settings, again=again, embeddings=embeddings)
        spec = read_model(spec.name, settings.models_path)
        keep_ensemble(spec, settings)
        return spec
    check_files(spec, weights_needed=spec.application is None)
    ready = spec.weights.exists() and prepared_file(spec, settings, embeddings=embeddings).exists()
    if ready and not again and not needs_trial(spec, settings, embeddings=embeddings):
        return spec
    _run_preparation(spec, settings, embeddings=embeddings)
    return read_model(spec.name, settings.models_path)


def examine_model(spec: ModelSpec, settings: Settings) -> list[str]:
    """Prepare a model once more; return a line for each thing that looks wrong, though it works.

    Raises:
        ClassyardError: one line that says what is missing or wrong.
    """
    if settings.engine == "stub":
        return []
    require_engine(settings)
    return _run_preparation(spec, settings, remarks=True)


def _run_preparation(
    spec: ModelSpec, settings: Settings, *, embeddings: bool = False, remarks: bool = False
) -> list[str]:
    command = [
        *(sys.executable, "-P", "-m", "worker.engines.prepare", spec.name),
        *("--home", str(settings.home), "--models-dir", str(settings.models_path)),
        *("--engine", "auto" if trial.wanted(settings) else serving_engine(settings)),
        *(("--embeddings",) if embeddings else ()),
        *(("--remarks",) if remarks else ()),
    ]
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment = dict(os.environ)  # noqa: TID251 - handed on, with two changes
    root = str(Path(__file__).parent.parent)
    paths = (root, environment.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        # TensorFlow writes files that it deletes only if it ends as it likes.
        with TemporaryDirectory(prefix="classyard-", ignore_cleanup_errors=True) as scratch:
            environment["TMPDIR"] = scratch
            done = subprocess.run(  # noqa: S603 - our own module, no shell
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=PREPARE_TIMEOUT,
            )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"model '{spec.name}' was not ready after {PREPARE_TIMEOUT} seconds"
        ) from error
    if done.returncode == 0:
        return done.stdout.splitlines()
    said = done.stderr.strip().splitlines()
    if done.returncode == 1 and said:
        raise ModelError(said[-1])
    log = settings.home / "converted" / "prepare.log"
    raise ModelError(
        f"preparing model '{spec.name}' ended with status {done.returncode} (out of memory?): "
        f"see {log}"
    )
