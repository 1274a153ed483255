"""One NVIDIA GPU, unattended: the model alone, decoding alone, and the whole yard, in images/s.

    KERAS_BACKEND=jax python -m benchmarks.gpu --json gpu.json

The end-to-end figure can at best reach the lower of the two ceilings. Decoding alone is one process per
core that does nothing else. With
`CLASSYARD_PRECISION=half` the last column says how far scores lie from those of 32 bits.
`--quick` runs the same on any machine, CPUs included, to see that it runs at all: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.contender import Done, contender
from benchmarks.lab import lab, manifest
from benchmarks.measure import Samples, number, say
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from benchmarks.workplace import workplace
from core.gpus import keras_backend, usable_gpus
from core.modelspec import read_model
from core.settings import read_settings
from worker.decode import Decoded, decode, prepare
from worker.engines.base import Child
from worker.identity import slots_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MODELS = ("mobilenet_v2", "resnet50")


@dataclass(frozen=True)
class Ceilings:
    """Images per second of one model: what limits it, and what the yard makes of that."""

    model: str
    raw_model: Samples
    decoding: Samples
    end_to_end: Samples
    difference: float
    #: Milliseconds of one image in its child, by stage; of threads, the sum.
    stages: dict[str, float]

    @property
    def share(self) -> float:
        """The yard's rate through the lower ceiling."""
        return self.end_to_end.middle / min(self.raw_model.middle, self.decoding.middle)


def raw(model: str, models: Path, batch: int, count: int) -> Callable[[], Done]:
    """Prepare the engine of a GPU worker on pixels that lie in memory already."""
    from worker.engines.keras import load_keras

    settings = read_settings(
        home=Path(tempfile.mkdtemp()), models_dir=models, engine="keras", batch_size=batch or None
    )
    spec = read_model(model, models)
    engine = load_keras(spec, settings, Child())
    shape = (engine.batch_size, spec.input.height, spec.input.width, spec.input.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def work() -> Done:
        calls = -(-count // len(pixels))
        for _ in range(calls):
            engine.predict(pixels)
        return Done(calls * len(pixels), time.perf_counter())

    return work


def decoding(model: str, models: Path, paths: Sequence[Path], runs: int) -> Samples:
    """Measure the decode stage alone: one process per core, so that none waits for another."""
    cores = len(os.sched_getaffinity(0))
    parts = [paths[part::cores] for part in range(cores)]
    decode_all = partial(_decode_all, model, models)
    with ProcessPoolExecutor(cores, get_context("spawn"), _open_decoder) as pool:

        def rate() -> float:
            start = time.perf_counter()
            return sum(pool.map(decode_all, parts)) / (time.perf_counter() - start)

        return _samples(rate, runs)


def _open_decoder() -> None:
    prepare(read_settings().image_limits)


def _decode_all(model: str, models: Path, paths: Sequence[Path]) -> int:
    return len(_pixels(model, models, paths))


def _pixels(model: str, models: Path, paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    limits, spec = read_settings().image_limits, read_model(model, models).input
    decoded = [decode(path.read_bytes(), spec, limits) for path in paths]
    assert all(isinstance(one, Decoded) for one in decoded)
    return [one.pixels for one in decoded if isinstance(one, Decoded)]


def difference(model: str, models: Path, paths: Sequence[Path]) -> float:
    """Return how far a score of a GPU worker's engine lies at most from one computed in 32 bits."""
    from worker.engines.device import make_begin
    from worker.engines.keras import load_keras
    from worker.engines.network import servable

    with tempfile.TemporaryDirectory() as home:
        settings = read_settings(home=Path(home), models_dir=models, engine="keras")
        spec = read_model(model, models)
        pixels = np.stack(_pixels(model, models, paths))
        if settings.precision == "single":
            return 0.0
        ours = load_keras(spec, settings, Child()).predict(pixels)
        exact = make_begin(servable(spec), gpu=bool(usable_gpus()))(pixels)()
    return float(np.abs(ours - exact).max())


def main() -> None:
    """Measure the models; print a table, write JSON."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--quick", action="store_true", help="a smoke test on any machine")
    made.add_argument("--json", type=Path, help="write the figures to this file")
    made.add_argument("--images", type=int, default=20_000)
    made.add_argument("--concurrency", type=int, default=0, help="0: the worker's own choice")
    made.add_argument("--batch-size", type=int, default=0, help="0: the engine's own")
    made.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = made.parse_args()
    runs = 2 if options.quick else 5
    count = 32 if options.quick else options.images
    paths = pictures(min(count, 2000))
    models = models_dir(*options.models)
    measured = []
    for model in options.models:
        say(f"{model}: the model alone")
        with contender(raw, model, models, options.batch_size, count) as rate:
            of_model = _samples(rate, runs)
        say(f"{model}: decoding alone")
        of_decoding = decoding(model, models, paths, runs)
        say(f"{model}: 16 bits against 32")
        with ProcessPoolExecutor(1, get_context("spawn")) as aside:
            apart = aside.submit(difference, model, models, paths[:256]).result()
        say(f"{model}: end to end")
        given = {"batch_size": options.batch_size} if options.batch_size else {}
        if options.quick or options.concurrency:
            given["concurrency"] = options.concurrency or 1
        with (
            tempfile.TemporaryDirectory() as folder,
            lab(engine="keras", models_dir=models, preload=(model,), **given) as yard,
        ):
            listed = manifest(Path(folder), _names(paths, count))
            yard.loaded(slots_for(yard.desk.settings))  # it has arrived when its first child has
            whole = _samples(lambda: yard.rate(listed, model), runs)  # noqa: B023 - called at once
            stages = yard.stages(yard.submit(listed, model))
        measured.append(Ceilings(model, of_model, of_decoding, whole, apart, stages))
        print(_row(measured[-1]), flush=True)
    machine = _machine()
    print("\n".join([_HEAD, *map(_row, measured)]))
    for row in measured:
        shown = ", ".join(f"{stage} {spent:.2f}" for stage, spent in row.stages.items())
        print(f"{row.model}, ms per image: {shown}")
    if options.json:
        figures = [{**asdict(row), "share": row.share} for row in measured]
        options.json.write_text(json.dumps({**machine, "figures": figures}, indent=1) + "\n")


def _names(paths: Sequence[Path], count: int) -> list[str]:
    """Return `count` names of pictures: a picture of the same name is not classified again."""
    folder = workplace("gpu-names")
    names = [folder / f"{place}.jpg" for place in range(count)]
    for place, name in enumerate(names):
        if not name.exists():
            name.hardlink_to(paths[place % len(paths)])
    return [str(name) for name in names]


def _samples(rate: Callable[[], float], runs: int) -> Samples:
    rate()  # warm
    return Samples(tuple(rate() for _ in range(runs)))


_HEAD = (
    "| model | model alone | decoding alone | end to end | of the lower ceiling | 16 bits against 32 |\n"
    "|---|---|---|---|---|---|"
)


def _row(row: Ceilings) -> str:
    cells = (
        f"{number(samples.middle)} ({samples.spread})"
        for samples in (row.raw_model, row.decoding, row.end_to_end)
    )
    return f"| {row.model} | {' | '.join(cells)} | {row.share:.2f} | {row.difference:.1e} |"


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
        "backend": keras_backend(),
        "precision": read_settings().precision,
        "started": time.strftime("%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    main()
