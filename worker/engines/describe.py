"""`python -m worker.engines.describe PATH`: what a network says of itself, as one line of JSON.

For `classyard models add FILE`, which writes a `model.toml` from it. Exit 0 and one line on standard
output, or exit 1 and one line on standard error.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.errors import ClassyardError, ModelError
from core.model import ModelSpec
from core.modelparts import InputSpec, OutputSpec
from core.types import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Range that a quantised input stands for -> the preprocessing that gives it.
_RANGES: Final = {(0.0, 1.0): "unit", (-1.0, 1.0): "tf", (0.0, 255.0): "none"}
_SLACK: Final = 0.02


@dataclass(frozen=True, slots=True)
class Described:
    """A network's input and outputs; None is what it does not say."""

    shape: tuple[int | None, ...]
    outputs: dict[str, tuple[int | None, ...]]
    #: What its first output looks like on random pictures.
    activation: str | None
    #: Known if it scales its input itself, or is quantised.
    preprocessing: str | None


def main() -> int:
    """Describe one network; returns the exit status."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # noqa: TID251 - for TensorFlow, before its import
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # noqa: TID251
    try:
        found = describe(Path(sys.argv[1]))
    except ClassyardError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the contract
        return 1
    except Exception as error:  # noqa: BLE001 - libraries raise what they like; one line is the contract
        print(printable(f"{sys.argv[1]}: {error!r}"), file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(dataclasses.asdict(found)))  # noqa: T201 - the contract
    return 0


def describe(path: Path) -> Described:
    """Load a network and ask it.

    Raises:
        ModelError: if it cannot be read.
    """
    return _describe_tflite(path) if path.suffix == ".tflite" else _describe_keras(path)


def _describe_keras(path: Path) -> Described:
    from worker.engines.reading import read_network

    network = read_network(_bare(path))
    if len(getattr(network, "inputs", None) or ()) != 1:
        raise ModelError(f"{path} does not take one picture and nothing else")
    shape = tuple(network.inputs[0].shape)
    outputs = network(_noise(shape).astype(str(network.inputs[0].dtype)))
    if isinstance(outputs, dict):
        named = {str(name): np.asarray(one) for name, one in outputs.items()}
    elif isinstance(outputs, list | tuple):
        named = {str(i): np.asarray(one) for i, one in enumerate(outputs)}
    else:
        named = {"": np.asarray(outputs)}
    return Described(
        shape[1:],
        {name: tuple(one.shape[1:]) for name, one in named.items()},
        _activation(next(iter(named.values()))),
        "none" if _scales(network.layers) else None,
    )


def _describe_tflite(path: Path) -> Described:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        details = interpreter.get_input_details()[0]
        shape = tuple(None if side < 0 else int(side) for side in details["shape_signature"])
        if None in shape:
            sides = _noise(shape).shape
            interpreter.resize_tensor_input(details["index"], (1, *sides[1:]))
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()[0]
        noise = _noise(tuple(details["shape"]))
        kind = np.dtype(details["dtype"])
        low = np.iinfo(kind).min if kind.kind in "iu" else 0
        interpreter.set_tensor(details["index"], (noise[: details["shape"][0]] + low).astype(kind))
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: LiteRT cannot run it: {printable(str(error), 200)}") from error
    found = {}
    for one in interpreter.get_output_details():
        scale, zero = one["quantization"]
        raw = interpreter.get_tensor(one["index"]).astype(np.float32)
        found[one["name"]] = (raw - zero) * scale if scale else raw
    named: dict[str, tuple[int | None, ...]] = {
        name: tuple(int(side) for side in one.shape[1:]) for name, one in found.items()
    }
    activation = _activation(next(iter(found.values())))
    return Described(shape[1:], named, activation, _range(details))


def _noise(shape: Sequence[int | None]) -> NDArray[np.float32]:
    """Return a few pictures of noise, 0..255, of a network's shape or of 64 pixels where it is free."""
    free = [64 if side is None else int(side) for side in shape[1:]]
    count = shape[0] or 4
    return np.random.default_rng(0).integers(0, 256, (count, *free)).astype(np.float32)


def _activation(scores: NDArray[Any]) -> str | None:
    """Tell probabilities that sum to one, independent probabilities, and neither."""
    rows = np.asarray(scores, np.float32).reshape(len(scores), -1)
    if not np.isfinite(rows).all():
        return None
    inside = rows.min() >= -_SLACK and rows.max() <= 1 + _SLACK
    if rows.shape[1] == 1:
        return "sigmoid" if inside else "sigmoid_logits"
    if inside and np.abs(rows.sum(axis=1) - 1).max() <= max(_SLACK, rows.shape[1] / 256):
        return "softmax"
    return "sigmoid" if inside else "logits"


def _range(details: dict[str, Any]) -> str | None:
    """Return the preprocessing that gives what a quantised input can hold."""
    scale, zero = details["quantization"]
    kind = np.dtype(details["dtype"])
    if kind.kind not in "iu" or not scale or kind.itemsize != 1:
        return None
    bounds = np.iinfo(kind)
    low, high = (bounds.min - zero) * scale, (bounds.max - zero) * scale
    for (wanted_low, wanted_high), name in _RANGES.items():
        slack = _SLACK * (wanted_high - wanted_low)
        if abs(low - wanted_low) <= slack and abs(high - wanted_high) <= slack:
            return name
    return None


def _scales(layers: Sequence[Any]) -> bool:
    """Whether a network scales its pixels itself."""
    for layer in layers:
        if type(layer).__name__ in {"Rescaling", "Normalization"} or _scales(
            getattr(layer, "layers", None) or ()
        ):
            return True
    return False


def _bare(path: Path) -> ModelSpec:
    """Return a spec that says nothing but where the network is."""
    fed = InputSpec(height=1, width=1)
    return ModelSpec(path.name, "", None, path.parent, path, ("",), fed, OutputSpec(), None)


if __name__ == "__main__":
    sys.exit(main())
