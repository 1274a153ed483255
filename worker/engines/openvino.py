"""The engine for processors whose instructions OpenVINO uses better: Intel's above all, and large networks.

Runs what was converted for LiteRT, on one thread, a few images at a time: the weights of a large network
do not stay in the caches, and so are read once for all of them. As fast as LiteRT or slower on
small networks, and 180 MB (docs/benchmarks.md): an extra, `classyard[openvino]`, that has to prove itself
for each network (`worker.engines.trial`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.errors import ModelError
from core.types import printable
from worker.engines.calls import score_in_calls

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from core.modelspec import ModelSpec
    from core.settings import Precision


#: Images in a call, at most: more are no faster (docs/benchmarks.md).
TOGETHER: Final = 4


class OpenVINOEngine:
    """A converted network, compiled for this processor. Not to be shared by threads."""

    def __init__(self, compiled: Any, classes: int) -> None:
        self._request = compiled.create_infer_request()
        number = compiled.input(0).partial_shape[0]
        self.batch_size = int(number.get_max_length())
        self._fewer = number.is_dynamic
        self._numbers = int(compiled.output(0).partial_shape[-1].get_length())
        self.embedding_size = self._numbers - classes

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        return score_in_calls(batch, self.batch_size, self._numbers, self._call, fewer=self._fewer)

    def _call(self, pixels: NDArray[np.uint8]) -> Any:
        return self._request.infer({0: pixels})[0]


def load_openvino(spec: ModelSpec, path: Path, precision: Precision) -> OpenVINOEngine:
    """Compile a converted network and run it once.

    Raises:
        ModelError: if the file is not a network of this model.
    """
    import openvino

    options = {
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "half" else "f32",
        # Each child would be bound to the same first core.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        core = openvino.Core()
        network = core.read_model(str(path))
        _take_several(network)
        compiled = core.compile_model(network, "CPU", options)
        engine = OpenVINOEngine(compiled, len(spec.labels))
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        engine.predict(np.zeros(shape, np.uint8))
    except (ValueError, RuntimeError) as error:
        reason = printable(str(error).strip().split("\n", 1)[0], 200)
        raise ModelError(f"{path}: OpenVINO cannot read it: {reason}") from error
    return engine


def _take_several(network: Any) -> None:
    """Let a network that takes one image take up to `TOGETHER`, unless its inside says one, too."""
    import openvino

    one = list(network.input(0).partial_shape)
    if one[0] != 1:
        return
    try:
        network.reshape([openvino.Dimension(1, TOGETHER), *one[1:]])
        several = network.output(0).partial_shape[0] == openvino.Dimension(1, TOGETHER)
    except RuntimeError:
        several = False
    if not several:
        network.reshape(one)
