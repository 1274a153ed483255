"""The models folder: models are added to it whole and checked, or not at all, and removed."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import ModelError, UsageError
from core.modeldocument import NO_NETWORK
from core.modelfiles import check_files, check_whole
from core.modelspec import model_names, read_document, read_model
from core.prepare import prepare_model, require_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model import ModelSpec
    from core.settings import Settings

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
#: Seconds to load a network and ask it what it is.
DESCRIBE_TIMEOUT: Final = 300


@dataclass(frozen=True, slots=True)
class Addition:
    """What a person says of a network to add; None is left to the network or to its `model.toml`."""

    name: str | None = None
    labels: Path | None = None
    size: tuple[int, int] | None = None
    preprocessing: str | None = None
    link: bool = False
    replace: bool = False


def add_model(source: Path, said: Addition, settings: Settings) -> ModelSpec:
    """Check a model and put it into the models folder, under its name, whole.

    Args:
        source: A folder with a `model.toml`, or a network: `.keras`, `.tflite`, a SavedModel folder.
        said: Name, and for a network what it does not say itself.
        settings: Say where models are, and which engine is to serve them.

    Raises:
        UsageError: if something has to be said that was not.
        ModelError: if the model cannot be served, or there is one of this name.
    """
    source = source.absolute()
    if not source.exists():
        raise UsageError(f"there is no {source}")
    if said.labels and not said.labels.is_file():
        raise UsageError(
            f"there is no {said.labels}: --labels names a file with one label per line"
        )
    name = said.name or _name_of(source)
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a model: say --name (letters, digits, _ . -)")
    target = settings.models_path / name
    if not said.replace and name in model_names(settings.models_path):
        raise ModelError(f"there is a model '{name}': say --replace, or another --name")
    with _staging(settings.models_path) as staging:
        folder = staging / name
        _furnish(folder, source, said)
        try:
            _prove(folder, staging, settings)
        except ModelError as error:  # a path that is about to vanish helps nobody
            raise ModelError(str(error).replace(str(folder), str(source))) from error
        _publish(folder, target, staging, replace=said.replace)
    return read_model(name, settings.models_path)


def _prove(folder: Path, staging: Path, settings: Settings) -> None:
    """Serve the model once, out of its place."""
    spec = read_document(
        folder / "model.toml", staging, lambda name: read_model(name, settings.models_path)
    )
    if spec.members:  # they are in their places
        for member in spec.members:
            prepare_model(member, settings)
        return
    spec = prepare_model(spec, settings.model_copy(update={"models_dir": staging}))
    check_files(spec)


def remove_model(name: str, settings: Settings) -> Path:
    """Delete a model's folder, or the link to it; return where it was.

    Raises:
        ModelError: if the models folder has none of this name.
    """
    folder = settings.models_path / name
    if not _NAME.fullmatch(name) or not (folder / "model.toml").is_file():
        raise ModelError(f"there is no model '{name}' in {settings.models_path}")
    if folder.is_symlink():
        folder.unlink()
        return folder
    with _staging(settings.models_path) as staging:
        folder.rename(staging / name)  # gone at once; deleting takes its time
    return folder


@contextmanager
def _staging(models_path: Path) -> Iterator[Path]:
    """Yield a folder on the same disk as the models, which is gone afterwards."""
    try:
        staging = models_path / f".adding-{secrets.token_hex(6)}"
        staging.mkdir(parents=True)
    except OSError as error:
        raise ModelError(f"cannot write to {models_path}: {error.strerror or error}") from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(folder: Path, target: Path, staging: Path, *, replace: bool) -> None:
    old = staging / "replaced"
    if replace and ((target / "model.toml").is_file() or target.is_symlink()):
        target.rename(old)
    try:
        folder.rename(target)  # refused by the system if somebody else's is there by now
    except BaseException as error:
        if old.exists() or old.is_symlink():
            old.rename(target)
        if isinstance(error, OSError):
            raise ModelError(
                f"{target} is there already: say --replace if it is a model, or move it away"
            ) from error
        raise


def _furnish(folder: Path, source: Path, said: Addition) -> None:
    """Put into `folder` what is to become the model's folder."""
    try:
        if (source / "model.toml").is_file():
            if said.labels or said.size or said.preprocessing:
                raise UsageError(f"{source / 'model.toml'} says all that: change it there")
            _take(source, folder, link=said.link)
            return
        words = _document(source, said)
        folder.mkdir()
        kind = source.suffix if source.is_file() else ""
        _take(source, folder / (f"model{kind}" if kind else "saved_model"), link=said.link)
        assert said.labels is not None
        shutil.copyfile(said.labels, folder / "labels.txt")
        (folder / "model.toml").write_text(words, "utf-8")
    except OSError as error:
        raise ModelError(f"cannot add {source}: {error}") from error


def _take(source: Path, target: Path, *, link: bool) -> None:
    if link:
        target.symlink_to(source, target_is_directory=source.is_dir())
    elif source.is_dir():
        shutil.copytree(source, target)
        for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
            folder.chmod(
                0o755
            )  # a copy of what must not be written could be neither moved nor removed
    else:
        shutil.copyfile(source, target)


def _name_of(source: Path) -> str:
    """Return what a model is called whose name nobody said."""
    called = source.name if source.is_dir() else source.stem
    return source.parent.name if called in {"model", "saved_model"} else called


def _document(source: Path, said: Addition) -> str:
    """Write the `model.toml` of a network that has none, from what it says itself and what was said."""
    if source.suffix in NO_NETWORK:
        raise UsageError(f"{source}: {NO_NETWORK[source.suffix]}")
    if source.suffix not in {".keras", ".tflite"} and not (source / "saved_model.pb").is_file():
        raise UsageError(
            f"{source} is no folder with a model.toml, no .keras or .tflite file, no SavedModel"
        )
    check_whole(source)
    found = _described(source)
    fed = _input_words(source, found["shape"], said.size)
    if len(found["outputs"]) != 1:
        named = ", ".join(map(repr, found["outputs"]))
        raise UsageError(
            f"{source} has several outputs ({named}): write a model.toml that names one"
        )
    (output,) = found["outputs"].values()
    if said.labels is None:
        raise UsageError(f"{source} gives {output[-1]} scores: name them with --labels FILE")
    preprocessing = said.preprocessing or found["preprocessing"]
    if preprocessing is None:
        raise UsageError(
            f"{source} does not scale its input itself: say --preprocessing tf, caffe, torch, unit "
            "or none, as it was trained"
        )
    fed.append(f'preprocessing = "{preprocessing}"')
    activation = found["activation"] or "softmax"
    lines = ["[input]", *fed, "", "[output]", f'activation = "{activation}"']
    return "\n".join(lines) + "\n"


def _input_words(source: Path, shape: list[int | None], size: tuple[int, int] | None) -> list[str]:
    """Return the words for an input of this shape (without the batch)."""
    if len(shape) != 3 or not ({shape[0], shape[2]} & {1, 3}):
        raise ModelError(f"{source} takes {tuple(shape)}: no picture of one or three channels")
    first = shape[2] not in {1, 3}
    channels = shape[0] if first else shape[2]
    sides = shape[1:] if first else shape[:2]
    if None in sides:
        if size is None:
            raise UsageError(f"{source} takes pictures of any size: say --size HEIGHTxWIDTH")
        sides = list(size)
    words = [f"height = {sides[0]}", f"width = {sides[1]}"]
    if channels == 1:
        words.append('color = "gray"')
    if first:
        words.append('layout = "channels_first"')
    return words


def _described(source: Path) -> dict[str, Any]:
    require_worker()
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", "worker.engines.describe", str(source)],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DESCRIBE_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{source} did not load in {DESCRIBE_TIMEOUT} seconds") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise ModelError(said[-1])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
