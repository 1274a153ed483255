"""The servable network: uint8 pixels in, probabilities out, all arithmetic between them inside.

Keras 3 API only, so that TensorFlow, JAX and PyTorch can all run it. Keras is imported when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.errors import ModelError
from core.modelfiles import check_outputs
from worker.engines.arithmetic import preprocess_graph
from worker.engines.embedding import EMBEDDING, with_embedding
from worker.engines.outputs import choose_output
from worker.engines.reading import read_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.modelspec import ModelSpec


def servable(spec: ModelSpec, *, half: bool = False, embeddings: bool = False) -> Any:
    """Build the Keras model that takes uint8 `[N, H, W, C]` and gives float32 `[N, labels]`.

    N is free, unless the network itself was built for a fixed number of pictures.

    Args:
        spec: The model.
        embeddings: Give the embedding, too: float32 `[N, labels + numbers of the embedding]`.
        half: Compute in 16 bits (weights, first and last steps stay in 32): for GPUs only. Scores
            differ by some hundredths (docs/models.md).

    Raises:
        ModelError: if the network cannot be read, or does not fit its spec.
    """
    import keras

    keras.config.set_image_data_format("channels_last")  # a user's keras.json may say otherwise
    network = read_network(spec, half=half)
    number = _check_input(spec, network)
    if embeddings:
        network = with_embedding(spec, network)
    if half:
        _halve(network)
    shape = (number, spec.input.height, spec.input.width, spec.input.channels)
    pixels = keras.Input(batch_shape=shape, dtype="uint8", name="pixels")
    fed = keras.ops.cast(preprocess_graph(pixels, spec.input), network.inputs[0].dtype)
    outputs = network(fed, training=False)
    embedding = outputs.pop(EMBEDDING) if embeddings else None
    scores = _flat(choose_output(spec, network, outputs), spec)
    check_outputs(spec, scores.shape[1])
    answer = _probabilities(scores, spec)
    if embedding is not None:
        answer = keras.ops.concatenate([answer, keras.ops.cast(embedding, "float32")], axis=-1)
    return keras.Model(pixels, answer, name="servable")


def _check_input(spec: ModelSpec, network: Any) -> int | None:
    """Refuse a network that our pixels do not fit into; return its number of pictures, if fixed."""
    if len(getattr(network, "inputs", None) or ()) != 1:
        raise ModelError(f"model '{spec.name}' does not take one picture and nothing else")
    shape = tuple(network.inputs[0].shape)
    last = (spec.input.height, spec.input.width, spec.input.channels)
    first = (last[2], last[0], last[1])
    wanted = first if spec.input.layout == "channels_first" else last
    if not _fits(shape, wanted):
        said = ", ".join(str(side) for side in wanted)
        other = first if wanted == last else last
        hint = ""
        if _fits(shape, other):
            layout = "channels_first" if other == first else "channels_last"
            hint = f': say input.layout = "{layout}"'
        raise ModelError(
            f"model '{spec.name}' takes {shape} but its [input] is (None, {said}){hint}"
        )
    return None if shape[0] is None else int(shape[0])


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, int, int]) -> bool:
    return len(shape) == 4 and all(
        side in {None, given} for side, given in zip(shape[1:], wanted, strict=True)
    )


def _flat(scores: Any, spec: ModelSpec) -> Any:
    """Return the scores as float32 `[N, C]`; dimensions of length 1 between the two are dropped."""
    import keras

    shape = tuple(scores.shape)
    if len(shape) == 1:
        shape = (*shape, 1)
    if len(shape) < 2 or None in shape[1:] or any(side != 1 for side in shape[1:-1]):
        raise ModelError(
            f"model '{spec.name}' gives {tuple(scores.shape)}, not one row of scores per image"
        )
    if len(scores.shape) != 2:
        scores = keras.ops.reshape(scores, (-1, shape[-1]))
    return keras.ops.cast(scores, "float32")


def _probabilities(scores: Any, spec: ModelSpec) -> Any:
    """Turn the network's scores into one probability per label."""
    import keras

    if spec.output.activation == "logits":
        return keras.ops.softmax(scores, axis=-1)
    if spec.output.activation == "sigmoid_logits":
        scores = keras.ops.sigmoid(scores)
    if spec.output.independent and len(spec.labels) == 2 and scores.shape[-1] == 1:
        return keras.ops.concatenate([1.0 - scores, scores], axis=-1)
    return scores


def _halve(network: Any) -> None:
    """Let every layer but the last compute in 16 bits; a softmax needs the longer mantissa."""
    import keras

    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    for layer in list(_leaves(network))[:-1]:
        layer.dtype_policy = policy


def _leaves(network: Any) -> Iterator[Any]:
    for layer in network.layers:
        if isinstance(getattr(layer, "layers", None), list):
            yield from _leaves(layer)
        else:
            yield layer
