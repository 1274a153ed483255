"""Pictures for the pipeline: ahead of need, in threads, where that hides more than it costs."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeAlias

from core.errors import Code
from core.types import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from core.types import StageSeconds
    from worker.fetch import Fetcher


@dataclass(frozen=True, slots=True)
class Opened:
    """A decoded picture (uint8 `[H, W, C]`) on its way into the batch; decoding took `seconds`."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    content_hash: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Threads:
    """How many fetch, and then decode: those that wait for servers may be more than the cores."""

    local: int
    remote: int


#: What became of a URI: its bytes, or its picture, or why there is neither.
Content: TypeAlias = "bytes | Opened | Failure"
Fetched: TypeAlias = tuple[str, Content]

#: Local pictures read in a row, while the processor's caches hold the code for it; and the seconds
#: after which a row ends, for slow disks and large files gain nothing.
_ROW: Final = 8
_ROW_SECONDS: Final = 0.002
#: How URIs begin that are read without waiting.
_LOCAL: Final = ("file:", "zip:", "tar:", "data:")


class FetchAhead:
    """Fetches pictures while others are decoded and predicted; at most `ahead` at a time."""

    def __init__(
        self,
        fetcher: Fetcher,
        ahead: int,
        threads: Threads,
        pass_on: tuple[type[Exception], ...],
    ) -> None:
        self._fetcher = fetcher
        self._ahead = ahead
        self._threads = threads
        self._pass_on = pass_on
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def fetch_all(
        self,
        uris: Iterable[str],
        roots: Sequence[Path],
        seconds: StageSeconds,
        then: Callable[[bytes], Content],
        *,
        local_too: bool = False,
    ) -> Generator[Fetched]:
        """Yield every URI with `then(content)`, and add the time spent waiting to `seconds`.

        Remote pictures go through threads, local ones if `local_too`; else these are read some in a
        row, here. Remote ones come as they arrive: one slow server does not hold the others up. Those
        under way and those waiting to be taken are `ahead` at most, together: that bounds memory.
        """
        row: deque[Fetched] = deque()
        row_seconds = 0.0
        arrived: SimpleQueue[Future[Fetched]] = SimpleQueue()
        under_way: set[Future[Fetched]] = set()

        def next_arrived() -> Fetched:
            start = perf_counter()
            future = arrived.get()
            seconds.fetch += perf_counter() - start
            under_way.discard(future)
            return future.result()

        try:
            for uri in uris:
                local = _is_local(uri)
                if local and not local_too:
                    start = perf_counter()
                    row.append(self._fetch(uri, roots, then))
                    spent = perf_counter() - start
                    seconds.fetch += spent
                    row_seconds += spent
                    if len(row) == _ROW or row_seconds > _ROW_SECONDS:
                        yield from _taken(row)
                        row_seconds = 0.0
                    continue
                pool = self._pool(self._threads.local if local else self._threads.remote)
                future = pool.submit(self._fetch, uri, roots, then)
                under_way.add(future)
                future.add_done_callback(arrived.put)
                if len(under_way) == self._ahead:
                    yield next_arrived()
            yield from _taken(row)
            while under_way:
                yield next_arrived()
        finally:
            # The chunk was given up in the middle: what has not begun need not begin.
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """End the threads, without waiting for slow servers."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()

    def _fetch(self, uri: str, roots: Sequence[Path], then: Callable[[bytes], Content]) -> Fetched:
        try:
            content = self._fetcher.fetch(uri, roots)
            return uri, content if isinstance(content, Failure) else then(content)
        except self._pass_on:
            raise
        except Exception as error:  # noqa: BLE001  recorded on this image; its neighbours go on
            return uri, Failure(Code.INTERNAL, f"fetch: {type(error).__name__}: {error}")

    def _pool(self, threads: int) -> ThreadPoolExecutor:
        """Return that many threads, started on first use: after the fork, and only where needed."""
        if threads not in self._pools:
            self._pools[threads] = ThreadPoolExecutor(threads, "fetch")
        return self._pools[threads]


def _taken(row: deque[Fetched]) -> Iterator[Fetched]:
    """Yield what is in a row, and let go of it."""
    while row:
        yield row.popleft()


def _is_local(uri: str) -> bool:
    """Whether a thread would cost more than it hides."""
    return uri[:5].lower().startswith(_LOCAL)
