"""The bare loop: the same decode and engine in one process per core, and nothing else at all.

What any queue can at best reach. The processes take the next picture from a shared counter, so that
none waits for another at the end.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
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

    def __init__(self, pids: Sequence[int], pipes: Sequence[Any], counter: Any, count: int) -> None:
        self.pids = pids
        self._pipes = pipes
        self._counter = counter
        self._count = count
        self._ends: dict[Any, float] = {}

    def start(self, most: int | None = None) -> None:
        """Begin to classify all pictures, or the last `most` of them."""
        self._counter.value = 0 if most is None else max(0, self._count - most)
        self._ends = {}
        for pipe in self._pipes:
            pipe.send("go")

    def ended(self) -> float | None:
        """Return the moment of the end (seconds since the epoch), None if it has not ended."""
        for pipe in self._pipes:
            if pipe not in self._ends and pipe.poll():
                self._ends[pipe] = pipe.recv()
        return max(self._ends.values()) if len(self._ends) == len(self._pipes) else None

    def warm(self, count: int) -> None:
        """Classify the last `count` pictures."""
        self.start(count)
        while self.ended() is None:
            wait([pipe for pipe in self._pipes if pipe not in self._ends])


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
        yield BareLoop([process.pid or 0 for process in started], pipes, counter, len(paths))
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
        pipe.send(time.time())
