"""The engine for processors whose instructions OpenVINO uses better: Intel's above all, and large networks.

Runs what was converted for LiteRT, as LiteRT does: one thread, one image at a time. As fast or slower on
small networks, and 180 MB (docs/benchmarks.md): an extra, `classyard[openvino]`, that has to prove itself
for each network (`worker.engines.trial`).
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
    from core.settings import Precision


class OpenVINOEngine:
    """A converted network, compiled for this processor. Not to be shared by threads."""

    batch_size = 1

    def __init__(self, compiled: Any, classes: int) -> None:
        self._request = compiled.create_infer_request()
        self._number = int(compiled.input(0).shape[0])
        self._numbers = int(compiled.output(0).shape[-1])
        self.embedding_size = self._numbers - classes

    def predict(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score each image; see `Engine.predict`."""
        return score_in_calls(batch, self._number, self._numbers, self._call)

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
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
        engine = OpenVINOEngine(compiled, len(spec.labels))
        shape = (1, spec.input.height, spec.input.width, spec.input.channels)
        engine.predict(np.zeros(shape, np.uint8))
    except (ValueError, RuntimeError) as error:
        reason = printable(str(error).strip().split("\n", 1)[0], 200)
        raise ModelError(f"{path}: OpenVINO cannot read it: {reason}") from error
    return engine
