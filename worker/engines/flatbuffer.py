"""A `.tflite` network of somebody else's, as it is: floats or quantised, whatever its batch.

What is arithmetic in the graph of a converted network is done here in NumPy: preprocessing, scale
and zero point of quantised tensors, and the final activation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError
from core.modelfiles import check_outputs
from core.types import printable
from worker.engines.arithmetic import preprocess_array
from worker.engines.outputs import choose_name

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec


class FlatbufferEngine:
    """An interpreter of its own around a network that says itself what it takes."""

    batch_size = 1

    def __init__(self, interpreter: Any, spec: ModelSpec, *, embeddings: bool = False) -> None:
        self._interpreter = interpreter
        self._spec = spec
        self._input = _fitted_input(interpreter, spec)
        self._number = int(self._input["shape"][0])
        interpreter.allocate_tensors()
        named = _outputs(interpreter)
        self._output = _chosen_output(named, spec)
        self._embedding = _chosen_embedding(named, spec) if embeddings else None
        self.embedding_size = int(self._embedding["shape"][-1]) if self._embedding else 0
        self._units = int(self._output["shape"][-1]) if len(self._output["shape"]) > 1 else 1
        check_outputs(spec, self._units)

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        fed = _quantized(preprocess_array(batch, self._spec.input), self._input)
        scores = np.empty((len(batch), self._units), np.float32)
        vectors = np.empty((len(batch), self.embedding_size), np.float32)
        for start in range(0, len(fed), self._number):
            part = fed[start : start + self._number]
            missing = self._number - len(part)
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            self._interpreter.set_tensor(self._input["index"], part)
            self._interpreter.invoke()
            for detail, rows in ((self._output, scores), (self._embedding, vectors)):
                if detail is not None:
                    raw = self._interpreter.get_tensor(detail["index"])
                    found = _dequantized(raw, detail).reshape(self._number, -1)
                    rows[start : start + self._number] = found[: self._number - missing]
        return np.concatenate([_probabilities(scores, self._spec), vectors], axis=1)


def load_flatbuffer(spec: ModelSpec, path: Path, *, embeddings: bool = False) -> FlatbufferEngine:
    """Map a `.tflite` file into memory and run it once.

    Raises:
        ModelError: if LiteRT cannot run it, or it does not fit its spec.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        engine = FlatbufferEngine(
            Interpreter(model_path=str(path), num_threads=1), spec, embeddings=embeddings
        )
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        engine.predict(np.zeros(shape, np.uint8))
    except (ValueError, RuntimeError) as error:
        reason = printable(str(error).strip().split("\n", 1)[0], 200)
        raise ModelError(f"{path}: LiteRT cannot run it: {reason}") from error
    return engine


def _fitted_input(interpreter: Any, spec: ModelSpec) -> dict[str, Any]:
    """Return the one input, its free dimensions set to what the spec says, one picture a time."""
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise ModelError(f"model '{spec.name}' does not take one picture and nothing else")
    sides = (spec.input.height, spec.input.width)
    last, first = (*sides, spec.input.channels), (spec.input.channels, *sides)
    wanted = first if spec.input.layout == "channels_first" else last
    found = [int(side) for side in inputs[0]["shape_signature"]]
    if len(found) != 4 or any(a not in {-1, b} for a, b in zip(found[1:], wanted, strict=True)):
        turned = first if wanted == last else last
        fits = len(found) == 4 and all(a in {-1, b} for a, b in zip(found[1:], turned, strict=True))
        layout = "channels_first" if turned == first else "channels_last"
        hint = f': say input.layout = "{layout}"' if fits else ""
        said = ", ".join(str(side) for side in wanted)
        raise ModelError(
            f"model '{spec.name}' takes {tuple(found)} but its [input] is (-1, {said}){hint}"
        )
    if -1 in found:
        interpreter.resize_tensor_input(inputs[0]["index"], [max(1, found[0]), *wanted])
    detail: dict[str, Any] = interpreter.get_input_details()[0]
    return detail


def _outputs(interpreter: Any) -> dict[str, dict[str, Any]]:
    """Return the outputs under the names that the network's maker gave them, if any."""
    details = {detail["index"]: detail for detail in interpreter.get_output_details()}
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        given = runner.get_output_details()
        if {detail["index"] for detail in given.values()} == set(details):
            return {name: details[detail["index"]] for name, detail in given.items()}
    return {detail["name"]: detail for detail in details.values()}


def _chosen_embedding(named: dict[str, dict[str, Any]], spec: ModelSpec) -> dict[str, Any]:
    wanted = spec.output.embedding
    if wanted is None or wanted not in named:
        listed = ", ".join(map(repr, named))
        raise ModelError(
            f"model '{spec.name}': a .tflite network has no embedding unless output.embedding names "
            f"one of its outputs: {listed}"
        )
    detail = named[wanted]
    if any(side != 1 for side in detail["shape"][1:-1]):
        raise ModelError(f"model '{spec.name}': output '{wanted}' is no row of numbers per image")
    return detail


def _chosen_output(named: dict[str, dict[str, Any]], spec: ModelSpec) -> dict[str, Any]:
    shapes = {name: tuple(map(int, detail["shape"])) for name, detail in named.items()}
    name = choose_name(spec, shapes)
    if not shapes[name] or any(side != 1 for side in shapes[name][1:-1]):
        raise ModelError(
            f"model '{spec.name}' gives {shapes[name]}, not one row of scores per image"
        )
    return named[name]


def _quantized(values: NDArray[np.float32], detail: dict[str, Any]) -> NDArray[Any]:
    kind = np.dtype(detail["dtype"])
    if kind.kind == "f":
        return values.astype(kind)
    scale, zero = detail["quantization"]
    if scale:
        values = values / np.float32(scale) + np.float32(zero)
    bounds = np.iinfo(kind)
    return np.clip(np.rint(values), bounds.min, bounds.max).astype(kind)


def _dequantized(raw: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    scale, zero = detail["quantization"]
    values = raw.astype(np.float32)
    if raw.dtype.kind != "f" and scale:
        values = (values - np.float32(zero)) * np.float32(scale)
    return values


def _probabilities(scores: NDArray[np.float32], spec: ModelSpec) -> NDArray[np.float32]:
    """Turn the network's scores into one probability per label, as the graph of a network does."""
    activation = spec.output.activation
    if activation == "logits":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    elif activation == "sigmoid_logits":
        with np.errstate(over="ignore"):
            scores = np.float32(1) / (np.float32(1) + np.exp(-scores))
    if spec.output.independent and len(spec.labels) == 2 and scores.shape[1] == 1:
        scores = np.concatenate([np.float32(1) - scores, scores], axis=1)
    return scores
