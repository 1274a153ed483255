"""The bare loop: the same decode and engine in one process per core, and nothing else at all.

What any queue can at best reach. The processes take the next picture from a shared counter, so that
none waits for another at the end.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.modelspec import read_model
from core.prepare import prepare_model
from core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.settings import Settings


class BareLoop:
    """Processes with a model in memory that wait to be told to go."""

    def __init__(self, pipes: Sequence[Any], counter: Any, count: int) -> None:
        self._pipes = pipes
        self._counter = counter
        self._count = count

    def rate(self, most: int | None = None) -> float:
        """Classify all pictures, or the last `most` of them; return pictures per second."""
        count = self._count if most is None else min(most, self._count)
        self._counter.value = self._count - count
        start = time.monotonic()
        for pipe in self._pipes:
            pipe.send("go")
        last: float = max(pipe.recv() for pipe in self._pipes)
        return count / (last - start)


@contextmanager
def bare_loop(
    paths: Sequence[Path], model: str, settings: Settings, processes: int = 0
) -> Iterator[BareLoop]:
    """Start the processes, one per core if not told otherwise, and load the model in each."""
    prepare_model(read_model(model, settings.models_path), settings)
    context = get_context("spawn")
    counter = context.Value("l", 0)
    places = (str(settings.home), str(settings.models_path))
    started, pipes = [], []
    for _ in range(processes or len(os.sched_getaffinity(0))):
        pipe, other = context.Pipe()
        process = context.Process(target=_run, args=(other, counter, paths, model, places))
        process.start()
        other.close()
        started.append(process)
        pipes.append(pipe)
    try:
        for pipe in pipes:
            pipe.recv()  # ready
        yield BareLoop(pipes, counter, len(paths))
    finally:
        for process in started:
            process.terminate()
            process.join(10)


def _run(pipe: Any, counter: Any, paths: Sequence[Path], model: str, places: Any) -> None:
    from worker.decode import Decoded, decode, prepare
    from worker.engines.choose import load_engine

    settings = read_settings(home=Path(places[0]), models_dir=Path(places[1]), engine="litert")
    spec = read_model(model, settings.models_path)
    engine = load_engine(spec, settings)
    limits = settings.image_limits
    prepare(limits)
    pipe.send("ready")
    while pipe.recv():
        while True:
            with counter.get_lock():
                index = counter.value
                counter.value = index + 1
            if index >= len(paths):
                break
            decoded = decode(paths[index].read_bytes(), spec.input, limits)
            assert isinstance(decoded, Decoded), decoded
            engine.predict(decoded.pixels[None])[0].argmax()
        pipe.send(time.monotonic())
