"""The other way of doing it, in a process of its own that waits to be told to go."""

from __future__ import annotations

import time
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds for a contender to load what it needs, and for one turn.
PATIENCE = 240


class Done(NamedTuple):
    """How many images were classified, and when the last of them was (`perf_counter`)."""

    images: int
    at: float


@contextmanager
def contender(
    prepare: Callable[..., Callable[[], Done]], *args: Any
) -> Iterator[Callable[[], float]]:
    """Yield a function that lets the contender run once and returns images per second.

    `prepare(*args)` is called in the new process; what it returns classifies once and returns the
    number of images and the moment (`perf_counter`) at which it had the last of them.
    """
    context = get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_serve, args=(other, prepare, args))
    process.start()
    other.close()  # so that the death of the process ends our waiting

    def rate() -> float:
        pipe.send("go")
        if not pipe.poll(PATIENCE):
            raise TimeoutError(f"{prepare.__name__} took more than {PATIENCE} s")
        return float(pipe.recv())

    try:
        if not pipe.poll(PATIENCE):
            raise TimeoutError(f"{prepare.__name__} was not ready after {PATIENCE} s")
        pipe.recv()
        yield rate
    finally:
        process.terminate()
        process.join(10)


def _serve(pipe: Any, prepare: Callable[..., Callable[[], Done]], args: Any) -> None:
    work = prepare(*args)
    pipe.send("ready")
    while pipe.recv():
        start = time.perf_counter()
        done = work()
        pipe.send(done.images / (done.at - start))
