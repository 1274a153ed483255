"""Calls a Keras model without waiting for the answer, in each backend's own way.

Keras's own `predict_on_batch` waits. Here the copy of one batch to the device, and of its scores back,
goes on beside the arithmetic of another.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    #: Waits for the scores of a call: float32 `[N, classes]`.
    Wait: TypeAlias = Callable[[], NDArray[np.float32]]
    #: Begins to score a batch: uint8 `[N, H, W, C]`, left alone until its scores are there.
    Begin: TypeAlias = Callable[[NDArray[np.uint8]], Wait]

log = logging.getLogger("classyard.worker")

#: Calls before PyTorch's are recorded: its libraries choose their algorithms in the first ones.
WARM_CALLS: Final = 3


def require_gpu() -> None:
    """Make sure that the backend computes on the GPU that it was given.

    Raises:
        ModelError: if it does not see one: it would compute on the processor without a word.
    """
    import keras

    backend = keras.backend.backend()
    if not _sees_gpu(backend):
        raise ModelError(
            f"there is a GPU, but {backend} cannot use it (driver too old, or CUDA's libraries "
            "missing): mend that, or set CLASSYARD_ENGINE=litert"
        )


def _sees_gpu(backend: str) -> bool:
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "gpu")
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def make_begin(model: Any, *, gpu: bool) -> Begin:
    """Return the function that begins calls of `model`; the first call of each shape compiles.

    XLA takes seconds to compile and pays on GPUs; JAX has nothing else. What PyTorch compiles needs a
    C++ compiler at run time, so its calls are recorded and played back on GPUs, and run as they are on CPUs.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        return _with_jax(model)
    if backend == "torch":
        return _recorded_with_torch(model) if gpu else _with_torch(model)
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


def _recorded_with_torch(model: Any) -> Begin:
    """Record the calls of each batch's shape once, as a CUDA graph, and play that back.

    Keras takes 50 ms of Python to begin a call of a hundred layers, whatever the batch; a GPU is through in
    five. A network that cannot be recorded (one that waits for the device in its midst) runs as it is.
    """
    plain = _with_torch(model)
    recorded: dict[tuple[int, ...], Begin] = {}

    def begin(batch: NDArray[np.uint8]) -> Wait:
        if batch.shape not in recorded:
            recorded.clear()  # the shape changes when memory is short
            try:
                recorded[batch.shape] = _record(model, batch.shape)
            except RuntimeError as error:
                if "out of memory" in str(error):
                    raise
                log.warning("runs slower, as it cannot be recorded: %s", str(error).split("\n")[0])
                recorded[batch.shape] = plain
        return recorded[batch.shape](batch)

    return begin


def _record(model: Any, shape: tuple[int, ...]) -> Begin:
    import torch

    pixels = torch.zeros(shape, dtype=torch.uint8, device="cuda")
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside), torch.inference_mode():
        for _ in range(WARM_CALLS):
            model(pixels, training=False)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        scores = model(pixels, training=False).to(torch.float32)

    def begin(batch: NDArray[np.uint8]) -> Wait:
        # One stream does it all in order: the next batch is copied in when this one is through.
        pixels.copy_(torch.from_numpy(batch).pin_memory(), non_blocking=True)
        graph.replay()
        answer = torch.empty(scores.shape, dtype=torch.float32, pin_memory=True)
        answer.copy_(scores, non_blocking=True)
        done = torch.cuda.Event()
        done.record()

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            return np.asarray(answer.numpy())

        return wait

    return begin
