"""Check a model's files as far as that goes without NumPy, h5py or TensorFlow.

A producer does it before it enqueues anything: a broken file should stop a command, not a million images.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

from core.errors import ModelError
from core.modelspec import missing_weights

if TYPE_CHECKING:
    from pathlib import Path

    from core.modelspec import ModelSpec

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

#: What stands in every LiteRT flatbuffer after its first four bytes.
TFLITE_IDENTIFIER: Final = b"TFL3"

#: Superblock version -> where its "end of file" address starts, and how long addresses are given.
#: (HDF5 File Format Specification, "Disk Format: Level 0A".)
_EOF_ADDRESS: Final = {0: (40, 13), 1: (44, 13), 2: (28, 9), 3: (28, 9)}

#: Most bytes of a `config.json` we parse: the largest network of keras.applications needs one MB.
_CONFIG_LIMIT: Final = 64 * 2**20


def check_files(spec: ModelSpec, *, weights_needed: bool = True) -> None:
    """Refuse a model whose files are missing, truncated, or do not fit its labels.

    Args:
        spec: The model.
        weights_needed: Whether absent weights are an error (they may still be downloaded).

    Raises:
        ModelError: one line that names the file and what is wrong with it.
    """
    _check_self_check(spec)
    if spec.members:
        for member in spec.members:
            check_files(member, weights_needed=weights_needed)
        return
    if not spec.weights.exists():
        if weights_needed:
            raise missing_weights(spec.name, spec.weights)
        return
    if spec.source == "application":
        check_whole(spec.weights)
    else:
        check_outputs(spec, check_whole(spec.weights))


def check_whole(path: Path) -> int | None:
    """Refuse a file that is no weights or network, or not a whole one; return its outputs, if known.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    try:
        match path.suffix:
            case ".keras":
                return _keras_outputs(path)
            case ".tflite":
                _check_tflite(path)
            case ".h5":
                _check_hdf5(path)
            case _:
                _check_saved_model(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    return None


def check_embeddings(spec: ModelSpec) -> None:
    """Refuse to promise embeddings of a network that has none, as far as its spec says.

    Raises:
        ModelError: saying what would give it one.
    """
    for one in spec.members or (spec,):
        if one.source in {"tflite", "saved_model"} and one.output.embedding is None:
            raise ModelError(
                f"model '{one.name}' has no embeddings: its {one.weights.name} has one only as an "
                "output that output.embedding names"
            )


def check_outputs(spec: ModelSpec, outputs: int | None) -> None:
    """Refuse a network whose outputs cannot be named by the labels; None means that it is unknown.

    Raises:
        ModelError: naming both numbers.
    """
    labels = len(spec.labels)
    if outputs is None or (outputs == 1 and spec.kind == "binary" and spec.output.independent):
        return
    if outputs != labels:
        plural = "output" if outputs == 1 else "outputs"
        hint = ': say activation = "sigmoid"' if (outputs, labels) == (1, 2) else ""
        raise ModelError(
            f"model '{spec.name}' has {outputs} {plural} but {spec.labels_file.name} has {labels} "
            f"labels{hint}"
        )
    if spec.kind == "binary" and spec.output.independent and spec.output.thresholded:
        raise ModelError(
            f"model '{spec.name}' has an output per label: say output.kind = \"multilabel\", or "
            'activation = "softmax" if they sum to one'
        )


def _check_self_check(spec: ModelSpec) -> None:
    if spec.check is None or spec.check_image is None:
        return
    if not spec.check_image.is_file():
        raise ModelError(f"model '{spec.name}' has no check image: {spec.check_image} is missing")
    if spec.check.label not in spec.labels:
        raise ModelError(f"model '{spec.name}': check label '{spec.check.label}' is not a label")


def _check_hdf5(path: Path) -> None:
    """Compare the length an HDF5 file was closed with to the one it has."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head.startswith(HDF5_SIGNATURE) or len(head) < 64:
        raise ModelError(f"{path}: not an HDF5 file: replace it by the model's weights")
    where = _EOF_ADDRESS.get(head[8])
    if where is None or head[where[1]] != 8:
        return  # a newer or exotic HDF5: the engine will read it, or say why not
    closed = int.from_bytes(head[where[0] : where[0] + 8], "little")
    size = path.stat().st_size
    if size < closed:
        raise ModelError(f"{path}: truncated: {size} of {closed} bytes: copy or download it again")


def _check_tflite(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] != TFLITE_IDENTIFIER:
        raise ModelError(f"{path}: not a .tflite file: copy it again")


def _check_saved_model(path: Path) -> None:
    """Look for what every SavedModel has; whole or not, TensorFlow will say."""
    if not path.is_dir():
        raise ModelError(f"{path}: neither .keras nor .tflite nor a SavedModel folder")
    for needed in ("saved_model.pb", "variables/variables.index"):
        if not (path / needed).is_file():
            raise ModelError(f"{path}: not a SavedModel: {needed} is missing")


def _keras_outputs(path: Path) -> int | None:
    """Read a `.keras` file as far as its number of outputs; None if the file does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise ModelError(f"{path}: damaged ({damaged}): copy it again")
            with archive.open("config.json") as file:
                config = json.loads(file.read(_CONFIG_LIMIT))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(f"{path}: not a whole .keras file: {error}") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: no readable config.json in it: save it with Keras 3") from error
    try:
        return _dense_units(config)
    except (KeyError, TypeError, IndexError, AttributeError):
        return None


def _dense_units(config: dict[str, Any]) -> int | None:
    """Return the units of the dense layer a network ends in, past a final activation."""
    layers = config["config"]["layers"]
    if config["class_name"] == "Functional":
        output = config["config"]["output_layers"]
        name = output[0] if isinstance(output[0], str) else output[0][0]
        layers = layers[: 1 + [layer["name"] for layer in layers].index(name)]
    while layers[-1]["class_name"] in {"Activation", "Softmax"}:
        layers = layers[:-1]
    last = layers[-1]
    return int(last["config"]["units"]) if last["class_name"] == "Dense" else None
