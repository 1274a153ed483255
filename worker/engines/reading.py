"""Reading networks: keras.applications with weights, `.keras` files, SavedModels. All as Keras models.

Keras is imported when called. Nothing here runs code that a file brings along: `.keras` files are
read in safe mode, SavedModels that reach for files or Python are refused.
"""

from __future__ import annotations

import math
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from core.errors import ModelError
from core.types import printable

if TYPE_CHECKING:
    from core.modelspec import ModelSpec

_EXPORT: Final = 'save the network as a SavedModel, with model.export("saved_model")'

#: Seconds a download may be silent.
DOWNLOAD_SILENCE: Final = 30

#: Operations of a graph that reach out of it. A guard, not a wall: see docs/models.md.
_REACHING_OUT: Final = frozenset(
    {
        "ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "PyFunc", "PyFuncStateless",
        "EagerPyFunc",
    }
)  # fmt: skip


def read_network(spec: ModelSpec, *, half: bool = False) -> Any:
    """Return the network as a Keras model with one input.

    Raises:
        ModelError: if it cannot be read.
    """
    try:
        match spec.source:
            case "application":
                return _read_application(spec)
            case "saved_model":
                return _read_saved_model(spec)
            case _:
                return _read_keras(spec, half=half)
    except (ModelError, ImportError):
        raise
    except Exception as error:  # Keras raises whatever its readers raise
        raise ModelError(f"{spec.weights}: Keras cannot read it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return in one sentence why Keras cannot read a network, and what to do where that is known."""
    said = str(error).strip()
    missing = re.search(r"Could not locate (?:class|function) '([^'\n]{1,100})'", said)
    if missing:
        return f"it needs '{missing[1]}' of the program that made it: {_EXPORT}"
    if "`Lambda` layer" in said:
        return f"a Lambda layer could run any code: use Keras's own layers, or {_EXPORT}"
    return printable(re.split(r"\n|\. ", said, maxsplit=1)[0])


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


def _application(spec: ModelSpec) -> Any:
    import keras

    application = getattr(keras.applications, spec.application or "", None)
    if not callable(application):
        raise ModelError(f"model '{spec.name}': keras.applications has no '{spec.application}'")
    return application


def _read_application(spec: ModelSpec) -> Any:
    network = _application(spec)(weights=None)
    network.load_weights(spec.weights)
    if re.fullmatch("EfficientNetB[0-7]", spec.application or ""):
        return _as_trained(network)
    return network


def _as_trained(network: Any) -> Any:
    """Divide once more by the root of the deviation, after EfficientNet's normalization.

    Keras builds this layer in only when it fetches ImageNet's weights itself; they need it.
    """
    import keras

    normalized = next(
        layer for layer in network.layers if isinstance(layer, keras.layers.Normalization)
    ).output
    head = keras.Model(network.inputs, normalized)
    tail = keras.Model(normalized, network.outputs[0])
    pixels = keras.Input(batch_shape=network.inputs[0].shape)
    factors = [1.0 / math.sqrt(deviation) for deviation in (0.229, 0.224, 0.225)]
    return keras.Model(pixels, tail(keras.layers.Rescaling(factors)(head(pixels))))


def _read_keras(spec: ModelSpec, *, half: bool) -> Any:
    import keras

    network = keras.saving.load_model(spec.weights, compile=False, safe_mode=True)
    if half or all(layer.compute_dtype == "float32" for layer in network.layers):
        return network
    # On CPUs 16 bits are slower and less exact, and LiteRT has no kernels for many of them.
    return _in_float32(network)


def _in_float32(network: Any) -> Any:
    import keras

    def widened(words: Any) -> Any:
        if isinstance(words, dict):
            if words.get("class_name") == "DTypePolicy":
                return {**words, "config": {"name": "float32"}}
            return {
                key: "float32" if key == "dtype" and value == "float16" else widened(value)
                for key, value in words.items()
            }
        if isinstance(words, list | tuple):
            return [widened(value) for value in words]
        return words

    document = widened(keras.saving.serialize_keras_object(network))
    wide = keras.saving.deserialize_keras_object(document, safe_mode=True)
    wide.set_weights([weight.astype("float32") for weight in network.get_weights()])
    return wide


def _read_saved_model(spec: ModelSpec) -> Any:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ModelError(f"model '{spec.name}' is a SavedModel: set KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    _refuse_reaching_out(spec)
    loaded = tf.saved_model.load(str(spec.weights))
    names = list(loaded.signatures)
    if not names:
        raise ModelError(f"model '{spec.name}': the SavedModel has no signature to call")
    if len(names) > 1 and "serving_default" not in names:
        raise ModelError(
            f"model '{spec.name}': the SavedModel has several signatures ({', '.join(sorted(names))}): "
            "call the one to be served serving_default"
        )
    endpoint = "serving_default" if "serving_default" in names else names[0]
    taken = list(loaded.signatures[endpoint].structured_input_signature[1].values())
    if len(taken) != 1 or taken[0].shape.rank != 4:
        raise ModelError(f"model '{spec.name}' does not take one picture and nothing else")
    layer = keras.layers.TFSMLayer(str(spec.weights), call_endpoint=endpoint)
    pixels = keras.Input(batch_shape=tuple(taken[0].shape), dtype=taken[0].dtype.name)
    return keras.Model(pixels, layer(pixels))


def _refuse_reaching_out(spec: ModelSpec) -> None:
    """Refuse a graph that reads or writes files, or calls Python, before it is loaded."""
    from tensorflow.core.protobuf import saved_model_pb2

    document = saved_model_pb2.SavedModel()
    document.ParseFromString((spec.weights / "saved_model.pb").read_bytes())
    for graph in (meta.graph_def for meta in document.meta_graphs):
        functions = (node for function in graph.library.function for node in function.node_def)
        found = {node.op for node in (*graph.node, *functions)} & _REACHING_OUT
        if found:
            raise ModelError(
                f"{spec.weights}: refused: its graph contains {', '.join(sorted(found))}, which "
                "could read or write files or run code"
            )
