"""The trial: which engine runs a converted network faster here, kept beside it for each kind of processor.

LiteRT or OpenVINO depends on both: figures in docs/benchmarks.md. `worker.engines.trial` makes it.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from core.settings import Settings

Runner = Literal["litert", "openvino"]

_PROCESSORS: Final = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Trial:
    """Seconds that one image took in either engine (None: it cannot), and the one that is taken."""

    taken: Runner
    litert: float
    openvino: float | None
    processor: str


def wanted(settings: Settings) -> bool:
    """Whether there are two engines to choose from, and the choice is ours."""
    return settings.engine == "auto" and find_spec("openvino") is not None


def due(prepared: Path, settings: Settings) -> bool:
    """Whether a prepared network is yet to be tried here; never where it could not be kept."""
    return (
        wanted(settings)
        and not trial_file(prepared).exists()
        and os.access(prepared.parent, os.W_OK)
    )


def runner(prepared: Path, settings: Settings) -> Runner:
    """Return the engine that runs a prepared network: LiteRT unless a trial or the settings say otherwise."""
    if settings.engine == "openvino":
        return "openvino"
    if not wanted(settings):
        return "litert"
    try:
        taken = json.loads(trial_file(prepared).read_text("utf-8"))["taken"]
    except (OSError, ValueError, KeyError, TypeError):
        return "litert"
    return "openvino" if taken == "openvino" else "litert"


def trial_file(prepared: Path) -> Path:
    """Return where a network's trial on this kind of processor is kept: HOME may be shared."""
    kind = blake2b(processor().encode(), digest_size=4).hexdigest()
    return prepared.with_suffix(f".{kind}.trial")


def written(trial: Trial) -> str:
    """Return what to write into `trial_file`."""
    return json.dumps(asdict(trial))


def processor() -> str:
    """Return the name of this machine's kind of processor."""
    try:
        lines = _PROCESSORS.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
