"""The default engine on CPUs: a LiteRT flatbuffer, memory-mapped, one thread, one image at a time.

One image per call is the measured optimum (docs/models.md) and makes an image's scores independent of
its neighbours by construction. Needs no TensorFlow, except to convert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ModelError
from core.types import printable
from worker.engines.calls import score_in_calls

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec


class LiteRTEngine:
    """A converted network in an interpreter of its own. Not to be shared by threads."""

    batch_size = 1

    def __init__(self, interpreter: Any, classes: int) -> None:
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        taken = interpreter.get_input_details()[0]
        self._input, self._number = taken["index"], int(taken["shape"][0])
        output = interpreter.get_output_details()[0]
        self._output, self._numbers = output["index"], int(output["shape"][-1])
        self.embedding_size = self._numbers - classes

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        return score_in_calls(batch, self._number, self._numbers, self._call)

    def _call(self, pixels: NDArray[np.uint8]) -> Any:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def load_litert(spec: ModelSpec, path: Path) -> LiteRTEngine:
    """Map a converted network into memory and run it once.

    Raises:
        ModelError: if the file is not a network of this model.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        engine = LiteRTEngine(Interpreter(model_path=str(path), num_threads=1), len(spec.labels))
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        engine.predict(np.zeros(shape, np.uint8))
    except (ValueError, RuntimeError) as error:
        reason = printable(str(error).strip().split("\n", 1)[0], 200)
        raise ModelError(f"{path}: LiteRT cannot read it: {reason}") from error
    return engine


def convert(model: Any, spec: ModelSpec) -> bytes:
    """Convert a servable Keras model to a LiteRT flatbuffer, in float32.

    It takes one image, or as many as the network was built for.

    Raises:
        ModelError: if the network uses operations that LiteRT lacks.
    """
    import keras
    import tensorflow as tf

    shape = (model.input_shape[0] or 1, *model.input_shape[1:])
    pixels = keras.Input(batch_shape=shape, dtype="uint8")
    one = keras.Model(pixels, model(pixels))
    try:
        flatbuffer: bytes = tf.lite.TFLiteConverter.from_keras_model(one).convert()
    except Exception as error:  # the converter raises its own and MLIR's errors
        raise ModelError(
            f"model '{spec.name}' cannot be converted to LiteRT: set CLASSYARD_ENGINE=keras"
        ) from error
    return flatbuffer
