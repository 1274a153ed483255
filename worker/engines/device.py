"""Calls a Keras model without waiting for the answer, in each backend's own way.

Keras's own `predict_on_batch` waits. Here the copy of one batch to the device, and of its scores back,
goes on beside the arithmetic of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    #: Waits for the scores of a call: float32 `[N, classes]`.
    Wait: TypeAlias = Callable[[], NDArray[np.float32]]
    #: Begins to score a batch: uint8 `[N, H, W, C]`, left alone until its scores are there.
    Begin: TypeAlias = Callable[[NDArray[np.uint8]], Wait]


def make_begin(model: Any, *, gpu: bool) -> Begin:
    """Return the function that begins calls of `model`; the first call of each shape compiles.

    XLA takes seconds to compile and pays on GPUs; JAX has nothing else. What PyTorch compiles needs a
    C++ compiler at run time, so it runs as it is.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        return _with_jax(model)
    if backend == "torch":
        return _with_torch(model)
    return _with_tensorflow(model, jit=gpu)


def _with_tensorflow(model: Any, *, jit: bool) -> Begin:
    import tensorflow as tf

    call = tf.function(lambda batch: model(batch, training=False), jit_compile=jit)

    def begin(batch: NDArray[np.uint8]) -> Wait:
        scores = call(tf.constant(batch))
        return lambda: np.asarray(scores, np.float32)

    return begin


def _with_jax(model: Any) -> Begin:
    import jax

    def score(trainable: Any, others: Any, batch: Any) -> Any:
        return model.stateless_call(trainable, others, batch, training=False)[0]

    call = jax.jit(score)
    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    def begin(batch: NDArray[np.uint8]) -> Wait:
        scores = call(trainable, others, jax.device_put(batch))
        return lambda: np.asarray(scores, np.float32)

    return begin


def _with_torch(model: Any) -> Begin:
    import torch

    device = next((one.device for one in model.parameters()), torch.device("cpu"))

    def begin(batch: NDArray[np.uint8]) -> Wait:
        given = torch.from_numpy(batch)
        if device.type == "cuda":
            given = given.pin_memory().to(device, non_blocking=True)  # pageable memory would wait
        with torch.inference_mode():
            scores = model(given, training=False)
        return lambda: scores.to("cpu", torch.float32).numpy()

    return begin
