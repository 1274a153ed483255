"""One NVIDIA GPU, unattended: the model alone, decoding alone, and the whole yard, in images/s.

    KERAS_BACKEND=jax python -m benchmarks.gpu --json gpu.json

The end-to-end figure can at best reach the lower of the two ceilings. `--quick` runs the same on any
machine, CPUs included, to see that it runs at all: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contender import contender
from benchmarks.lab import lab, manifest
from benchmarks.measure import Samples, number, say
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODELS = ("mobilenet_v2", "resnet50")


@dataclass(frozen=True)
class Ceilings:
    """Images per second of one model: what limits it, and what the yard makes of that."""

    model: str
    raw_model: Samples
    decoding: Samples
    end_to_end: Samples

    @property
    def share(self) -> float:
        """The yard's rate through the lower ceiling."""
        return self.end_to_end.middle / min(self.raw_model.middle, self.decoding.middle)


def raw(model: str, models: Path, batch: int, count: int) -> Callable[[], int]:
    """Prepare the engine of a GPU worker on pixels that lie in memory already."""
    import numpy as np

    from core.modelspec import read_model
    from core.settings import read_settings
    from worker.engines.base import Child
    from worker.engines.keras import load_keras

    settings = read_settings(
        home=Path(tempfile.mkdtemp()), models_dir=models, engine="keras", batch_size=batch or None
    )
    spec = read_model(model, models)
    engine = load_keras(spec, settings, Child())
    shape = (engine.batch_size, spec.input.height, spec.input.width, spec.input.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def work() -> int:
        calls = -(-count // len(pixels))
        for _ in range(calls):
            engine.predict(pixels)
        return calls * len(pixels)

    return work


def decoding(model: str, models: Path, paths: Sequence[Path]) -> Callable[[], int]:
    """Prepare the decode stage, in one thread per core as a GPU worker has it."""
    from concurrent.futures import ThreadPoolExecutor

    from core.modelspec import read_model
    from core.settings import read_settings
    from worker.decode import Decoded, decode, prepare

    spec, limits = read_model(model, models).input, read_settings().image_limits
    prepare(limits)
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def one(path: Path) -> bool:
        return isinstance(decode(path.read_bytes(), spec, limits), Decoded)

    def work() -> int:
        assert all(pool.map(one, paths))
        return len(paths)

    return work


def main() -> None:
    """Measure both models; print a table, write JSON."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--quick", action="store_true", help="a smoke test on any machine")
    made.add_argument("--json", type=Path, help="write the figures to this file")
    made.add_argument("--images", type=int, default=20_000)
    made.add_argument("--batch-size", type=int, default=0, help="0: the engine's own")
    options = made.parse_args()
    runs = 2 if options.quick else 5
    count = 32 if options.quick else options.images
    paths = pictures(min(count, 2000))
    models = models_dir(*MODELS)
    measured = []
    for model in MODELS:
        say(f"{model}: the model alone")
        with contender(raw, model, models, options.batch_size, count) as rate:
            of_model = _samples(rate, runs)
        say(f"{model}: decoding alone")
        with contender(decoding, model, models, paths) as rate:
            of_decoding = _samples(rate, runs)
        say(f"{model}: end to end")
        given = {"batch_size": options.batch_size} if options.batch_size else {}
        if options.quick:
            given["concurrency"] = 1
        with (
            tempfile.TemporaryDirectory() as folder,
            lab(engine="keras", models_dir=models, preload=(model,), **given) as yard,
        ):
            names = [str(paths[number % len(paths)]) for number in range(count)]
            listed = manifest(Path(folder), names)
            whole = _samples(lambda: yard.rate(listed, model), runs)  # noqa: B023 - called at once
        measured.append(Ceilings(model, of_model, of_decoding, whole))
        print(_row(measured[-1]), flush=True)
    machine = _machine()
    print("\n".join([_HEAD, *map(_row, measured)]))
    if options.json:
        figures = [{**asdict(row), "share": row.share} for row in measured]
        options.json.write_text(json.dumps({**machine, "figures": figures}, indent=1) + "\n")


def _samples(rate: Callable[[], float], runs: int) -> Samples:
    rate()  # warm
    return Samples(tuple(rate() for _ in range(runs)))


_HEAD = "| model | model alone | decoding alone | end to end | of the lower ceiling |\n|---|---|---|---|---|"


def _row(row: Ceilings) -> str:
    cells = (
        f"{number(samples.middle)} ({samples.spread})"
        for samples in (row.raw_model, row.decoding, row.end_to_end)
    )
    return f"| {row.model} | {' | '.join(cells)} | {row.share:.2f} |"


def _machine() -> dict[str, str]:
    """Say where and with what this was measured."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            check=True, capture_output=True, text=True, timeout=20,
        )  # fmt: skip
        gpu = asked.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        gpu = "none"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": gpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),  # noqa: TID251 - Keras's own
        "started": time.strftime("%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    main()
