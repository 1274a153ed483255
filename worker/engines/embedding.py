"""The embedding of a picture: what the layer before the scores says, as one row of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import ModelError
from worker.engines.outputs import by_name, choose_name

if TYPE_CHECKING:
    from core.modelspec import ModelSpec

#: Name of the output that is added to a network.
EMBEDDING: Final = "classyard_embedding"

#: Most numbers of an embedding: 32 KB per picture in the table.
LONGEST: Final = 16_384


def with_embedding(spec: ModelSpec, network: Any) -> Any:
    """Return the network with one more output (its outputs are a dict then): the embedding.

    That is the output or layer that `output.embedding` names, else the input of the last layer
    with weights; of a map of features, the average over the map.

    Raises:
        ModelError: if there is none, or too long a one.
    """
    import keras

    # A Sequential has outputs, but no `output` before it was called.
    one = isinstance(network, keras.Sequential)
    named = by_name(network, network.outputs[0] if one else network.output)
    if spec.output.embedding:
        tensor = _named(spec, network, named)
    else:
        scores = named[choose_name(spec, {name: tuple(one.shape) for name, one in named.items()})]
        tensor = _penultimate(spec, scores)
    shape = tuple(tensor.shape)
    if len(shape) == 4:
        axes = (2, 3) if spec.input.layout == "channels_first" else (1, 2)
        tensor = keras.ops.mean(tensor, axis=axes)
    elif len(shape) != 2:
        raise ModelError(f"model '{spec.name}': {shape} is no embedding: name another layer")
    length = tensor.shape[1]
    if length is None or length > LONGEST:
        raise ModelError(
            f"model '{spec.name}': an embedding of {length} numbers is too long (most: {LONGEST}): "
            "name a smaller layer in output.embedding"
        )
    return keras.Model(network.inputs, {**named, EMBEDDING: tensor})


def _named(spec: ModelSpec, network: Any, outputs: dict[str, Any]) -> Any:
    wanted = spec.output.embedding or ""
    if wanted in outputs:
        return outputs[wanted]
    try:
        return network.get_layer(wanted).output
    except ValueError as error:
        raise ModelError(f"model '{spec.name}' has no layer or output '{wanted}'") from error


def _penultimate(spec: ModelSpec, scores: Any) -> Any:
    """Walk back from the scores to what the last layer with weights is fed."""
    tensor = scores
    while True:
        # Keras has no public name for what made a tensor; every functional model rests on this one.
        layer, node, _ = tensor._keras_history
        fed = layer._inbound_nodes[node].input_tensors
        nested = getattr(layer, "layers", None)
        if nested or len(fed) != 1:
            raise ModelError(
                f"model '{spec.name}': say output.embedding: the layer whose output is the embedding"
            )
        if getattr(layer, "weights", None):
            return fed[0]
        tensor = fed[0]
