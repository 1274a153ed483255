"""What is done to pixels before a network sees them: one arithmetic, for arrays and for graphs.

The same as Keras's `preprocess_input`; `tests/integration/test_engines.py` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from core.modelparts import InputSpec

#: ImageNet's mean and deviation per colour: of pixels in 0..1 (`torch`), and in BGR (`caffe`).
TORCH_MEAN: Final = np.array([0.485, 0.456, 0.406], np.float32)
TORCH_STD: Final = np.array([0.229, 0.224, 0.225], np.float32)
CAFFE_MEAN: Final = np.array([103.939, 116.779, 123.68], np.float32)


def preprocess_array(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Turn uint8 `[N, H, W, C]` into what the network takes, in its layout."""
    values = pixels.astype(np.float32)
    if _reversed(spec):
        values = values[..., ::-1]
    values = _scaled(values, spec, np.asarray)
    if spec.layout == "channels_first":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values, np.float32)


def preprocess_graph(pixels: Any, spec: InputSpec) -> Any:
    """Do the same to a Keras tensor, symbolic or not."""
    from keras import ops

    values = ops.cast(pixels, "float32")
    if _reversed(spec):
        values = ops.flip(values, axis=-1)
    # Constants of the backend, on the device once: NumPy's would be copied there in every call.
    values = _scaled(values, spec, ops.convert_to_tensor)
    if spec.layout == "channels_first":
        values = ops.transpose(values, (0, 3, 1, 2))
    return values


def _reversed(spec: InputSpec) -> bool:
    """Whether the network wants blue first."""
    return spec.color == "bgr" or spec.preprocessing == "caffe"


def _scaled(values: Any, spec: InputSpec, constant: Callable[[Any], Any]) -> Any:
    """Scale and shift float32 `[..., C]`; in Keras's order of operations, to the same last bits."""
    match spec.preprocessing:
        case "tf":
            return values / constant(np.float32(127.5)) - constant(np.float32(1))
        case "caffe":
            return values - constant(CAFFE_MEAN)
        case "torch":
            values = values / constant(np.float32(255))
            return (values - constant(TORCH_MEAN)) / constant(TORCH_STD)
        case "unit":
            values = values / constant(np.float32(255))
        case "none":
            pass
    if spec.shifted:
        mean, std = (np.asarray(given, np.float32) for given in (spec.mean, spec.std))
        values = (values - constant(mean)) / constant(std)
    return values
