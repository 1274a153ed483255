"""The default engine on GPUs: the Keras model itself, compiled once for one batch shape.

Runs on whatever `KERAS_BACKEND` names: TensorFlow, JAX or PyTorch. A batch that does not fit into the
device's memory is halved, and the size that did fit is remembered for the next start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import numpy as np

from core.errors import ModelError
from core.gpus import usable_gpus
from worker.engines.batchsize import BatchSize, FixedSize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import Settings
    from worker.engines.base import Child
    from worker.engines.device import Begin

#: Images in one call, unless `CLASSYARD_BATCH_SIZE` says otherwise. A CPU gains nothing from more.
GPU_BATCH: Final = 64
CPU_BATCH: Final = 8
#: Calls at a time: one is copied to the device while it computes the other.
GPU_IN_FLIGHT: Final = 2

#: How TensorFlow, JAX, PyTorch and CUDA's allocators say it, and Python itself.
_MEMORY_TYPES: Final = {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
_MEMORY_WORDS: Final = ("RESOURCE_EXHAUSTED", "out of memory", "failed to allocate")


class KerasEngine:
    """A Keras model that is always called with the same number of images.

    `in_flight` calls are begun before the first one's scores are waited for.
    """

    def __init__(
        self,
        begin: Begin,
        size: BatchSize | FixedSize,
        *,
        embedding_size: int = 0,
        in_flight: int = 1,
    ) -> None:
        self._begin = begin
        self._size = size
        self.embedding_size = embedding_size
        self._in_flight = in_flight

    @property
    def batch_size(self) -> int:
        """Images of the calls in flight together; shrinks when the device's memory is short."""
        return self._size.now * self._in_flight

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`.

        Raises:
            MemoryError: if not even a single image fits.
        """
        parts: list[NDArray[np.float32]] = []
        rest = batch
        while len(rest):
            now = rest[: self.batch_size]
            try:
                parts += self._score(now)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if self._size.least:
                    raise MemoryError("one image does not fit into the device's memory") from error
                self._size.halve()
            else:
                rest = rest[len(now) :]
        return np.concatenate(parts)

    def _score(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Begin all calls that the images need, then wait for their scores."""
        size = self._size.now
        calls = [images[start : start + size] for start in range(0, len(images), size)]
        waits = [self._begin(_filled_up(call, size)) for call in calls]
        return [wait()[: len(call)] for call, wait in zip(calls, waits, strict=True)]


def _filled_up(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return `size` images: another shape would be compiled anew, which takes seconds."""
    missing = size - len(images)
    if not missing:
        return images
    return np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])


def out_of_memory(error: Exception) -> bool:
    """Whether `error` says that the device's memory is full, in any backend's words."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _MEMORY_TYPES) or any(word in str(error) for word in _MEMORY_WORDS)


def load_keras(
    spec: ModelSpec, settings: Settings, child: Child, *, embeddings: bool = False
) -> KerasEngine:
    """Build the model on this child's device and run it once, which compiles it.

    Raises:
        ModelError: if Keras is not installed or cannot read the model.
    """
    device = _choose_device(child, settings)
    try:
        from worker.engines.device import make_begin, require_gpu
        from worker.engines.network import servable

        gpu = device != "cpu"
        if gpu:
            require_gpu()
        half = gpu and settings.precision == "half"
        model = servable(spec, half=half, embeddings=embeddings)
    except ImportError as error:
        raise ModelError(
            "the keras engine needs Keras and TensorFlow (or what KERAS_BACKEND names): "
            "pip install 'classyard[tensorflow]'"
        ) from error
    wanted = settings.batch_size or (GPU_BATCH if gpu else CPU_BATCH)
    fixed = model.input_shape[0]
    name = f"{spec.fingerprint}-{device}{'-half' if half else ''}.json"
    memory = settings.home / "batch-sizes" / name
    # A network built for a number of pictures gets that number, filled up, and cannot shrink.
    size = FixedSize(fixed) if fixed else BatchSize(wanted, memory)
    engine = KerasEngine(
        make_begin(model, gpu=gpu),
        size,
        embedding_size=model.output_shape[1] - len(spec.labels),
        in_flight=GPU_IN_FLIGHT if gpu else 1,
    )
    shape = (1, spec.input.height, spec.input.width, spec.input.channels)
    engine.predict(np.zeros(shape, np.uint8))
    return engine


def _choose_device(child: Child, settings: Settings) -> str:
    """Give this child its GPU, before any library looks; returns the device's name."""
    environment = os.environ  # noqa: TID251 - how CUDA, TensorFlow and JAX are told
    gpus = usable_gpus()
    if not gpus:
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
        # Left alone, every child would start a thread per core and all would wait for each other.
        threads = str(max(1, len(os.sched_getaffinity(0)) // child.count))
        environment.setdefault("TF_NUM_INTRAOP_THREADS", threads)
        environment.setdefault("OMP_NUM_THREADS", threads)
        return "cpu"
    gpu = gpus[child.index % len(gpus)]
    environment["CUDA_VISIBLE_DEVICES"] = gpu
    # Several children may share a GPU, so none may take all of its memory at once.
    environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    # JAX takes 15 s to compile a network for a GPU: once, not in every child at every start.
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(settings.home / "compiled"))
    return f"gpu{gpu}"
