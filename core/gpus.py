"""NVIDIA GPUs: which of them this process may use, and whether Keras's backend was installed for them.

Looks at files only: TensorFlow would take seconds to say the same, and must not be imported by a parent.
"""

from __future__ import annotations

import json
import os
import subprocess
from ctypes.util import find_library
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

#: Seconds that the driver's own tool may take to answer.
ASKING: Final = 20


def usable_gpus() -> tuple[str, ...]:
    """Return the GPUs that Keras's backend can compute on, by the names CUDA gives them.

    None where the backend was installed without CUDA: it would compute on the processor, much slower
    than the engine for processors does.
    """
    gpus = _visible_gpus()
    return gpus if gpus and _built_for_gpus(keras_backend()) else ()


def keras_backend() -> str:
    """Return the backend that Keras will take: as its environment or its own file says."""
    environment = os.environ  # noqa: TID251 - Keras's variables, not ours
    if named := environment.get("KERAS_BACKEND"):
        return named
    folder = Path(environment.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((folder / "keras.json").read_text("utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def gpu_memory() -> int:
    """Return the bytes of memory of the smallest GPU; 0 if the driver's tool does not say."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(  # noqa: S603 - no shell, fixed words
            command, check=True, capture_output=True, text=True, timeout=ASKING
        )
        return min(int(line) for line in asked.stdout.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that the driver shows, less those that `CUDA_VISIBLE_DEVICES` hides."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")  # noqa: TID251 - CUDA's variable, not ours
    present = sorted(Path("/proc/driver/nvidia/gpus").glob("*")) or sorted(
        Path("/dev").glob("nvidia[0-9]*")
    )
    if not present:
        return ()
    if named is None:
        return tuple(str(index) for index in range(len(present)))
    names = tuple(name.strip() for name in named.split(",") if name.strip())
    return () if "-1" in names else names


def _built_for_gpus(backend: str) -> bool:
    """Whether the installed backend brings, or finds, the libraries of CUDA."""
    match backend:
        case "jax":
            return any("cuda" in one.name for one in entry_points(group="jax_plugins"))
        case "torch":
            spec = find_spec("torch")
            place = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
            return (place / "lib" / "libtorch_cuda.so").exists()
        case _:
            carried = find_spec("nvidia") is not None and find_spec("nvidia.cudnn") is not None
            return find_spec("tensorflow") is not None and (carried or bool(find_library("cudnn")))
