"""The servable network: uint8 pixels in, probabilities out, all arithmetic between them inside.

Keras 3 API only, so that TensorFlow, JAX and PyTorch can all run it. Keras is imported when called.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Final

from core.errors import ModelError
from core.modelfiles import check_outputs
from core.types import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.modelspec import InputSpec, ModelSpec

#: Seconds a download may be silent.
DOWNLOAD_SILENCE: Final = 30


def servable(spec: ModelSpec, *, half: bool = False) -> Any:
    """Build the Keras model that takes uint8 `[N, H, W, C]` and gives float32 `[N, labels]`.

    Args:
        spec: The model.
        half: Compute in 16 bits (weights, first and last steps stay in 32): for GPUs only.

    Raises:
        ModelError: if the network cannot be read, or does not fit its spec.
    """
    import keras

    keras.config.set_image_data_format("channels_last")  # a user's keras.json may say otherwise
    network = _read_network(spec)
    _check_shapes(spec, network)
    if half:
        _halve(network)
    pixels = keras.Input(
        (spec.input.height, spec.input.width, spec.input.channels), dtype="uint8", name="pixels"
    )
    scores = network(preprocess(pixels, spec.input), training=False)
    scores = _probabilities(keras.ops.cast(scores, "float32"), spec)
    return keras.Model(pixels, scores, name="servable")


def preprocess(pixels: Any, spec: InputSpec) -> Any:
    """Turn uint8 pixels into what the network was trained on, by Keras's own arithmetic."""
    import keras

    values = keras.ops.cast(pixels, "float32")
    if spec.preprocessing == "none":
        return values
    if spec.preprocessing == "unit":
        return values / 255.0
    return keras.applications.imagenet_utils.preprocess_input(
        values, data_format="channels_last", mode=spec.preprocessing
    )


def download_weights(spec: ModelSpec) -> None:
    """Let Keras download an application's weights into its own cache.

    Raises:
        ModelError: naming the file and where to put it, if that fails.
    """
    application = _application(spec)
    socket.setdefaulttimeout(DOWNLOAD_SILENCE)  # this process does nothing else on the network
    try:
        application(weights="imagenet")
    except Exception as error:
        raise ModelError(
            f"model '{spec.name}' has no weights and they could not be downloaded: "
            f"put them at {spec.weights}"
        ) from error


def _read_network(spec: ModelSpec) -> Any:
    import keras

    application = _application(spec) if spec.application else None
    try:
        if application is None:
            return keras.saving.load_model(spec.weights, compile=False, safe_mode=True)
        network = application(weights=None)
        network.load_weights(spec.weights)
    except Exception as error:  # Keras raises whatever its readers raise
        reason = printable(re.split(r"\n|\. ", str(error).strip(), maxsplit=1)[0])
        raise ModelError(f"{spec.weights}: Keras cannot read it: {reason}") from error
    return network


def _application(spec: ModelSpec) -> Any:
    import keras

    application = getattr(keras.applications, spec.application or "", None)
    if not callable(application):
        raise ModelError(f"model '{spec.name}': keras.applications has no '{spec.application}'")
    return application


def _check_shapes(spec: ModelSpec, network: Any) -> None:
    """Refuse a network that our pixels do not fit into, or whose outputs have no labels."""
    wanted = (spec.input.height, spec.input.width, spec.input.channels)
    said = ", ".join(str(side) for side in wanted)
    shape = network.input_shape
    fits = (
        isinstance(shape, tuple)
        and len(shape) == 4
        and all(side in {None, given} for side, given in zip(shape[1:], wanted, strict=True))
    )
    if not fits:
        raise ModelError(f"model '{spec.name}' takes {shape} but its [input] is (None, {said})")
    outputs = network.output_shape
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ModelError(f"model '{spec.name}' gives {outputs}, not one row of scores per image")
    check_outputs(spec, outputs[1])


def _probabilities(scores: Any, spec: ModelSpec) -> Any:
    """Turn the network's scores into one probability per label."""
    import keras

    if spec.output.activation == "logits":
        return keras.ops.softmax(scores, axis=-1)
    if spec.output.activation == "sigmoid" and scores.shape[-1] == 1:
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
