"""Bytes for the pipeline: files at once, remote pictures ahead of need, in threads."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING

from core.errors import Code
from core.types import Failure

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from core.types import StageSeconds
    from worker.fetch import Fetcher

#: A URI and its content, or why there is none.
Fetched = tuple[str, bytes | Failure]


class FetchAhead:
    """Fetches remote pictures while others are decoded and predicted; at most `ahead` at a time."""

    def __init__(self, fetcher: Fetcher, ahead: int, pass_on: tuple[type[Exception], ...]) -> None:
        self._fetcher = fetcher
        self._ahead = ahead
        self._pass_on = pass_on
        self._threads: ThreadPoolExecutor | None = None

    def fetch_all(
        self, uris: Iterable[str], roots: Sequence[Path], seconds: StageSeconds
    ) -> Generator[Fetched]:
        """Yield every URI with its content, and add the time spent waiting to `seconds`.

        Remote pictures come as they arrive: one slow server does not hold the others up. Those under
        way and those waiting to be taken are `ahead` at most, together: that bounds memory.
        """
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
                if _is_local(uri):
                    start = perf_counter()
                    fetched = self._fetch(uri, roots)
                    seconds.fetch += perf_counter() - start
                    yield fetched
                    continue
                future = self._pool().submit(self._fetch, uri, roots)
                under_way.add(future)
                future.add_done_callback(arrived.put)
                if len(under_way) == self._ahead:
                    yield next_arrived()
            while under_way:
                yield next_arrived()
        finally:
            # The chunk was given up in the middle: what has not begun need not begin.
            for future in under_way:
                future.cancel()

    def close(self) -> None:
        """End the threads, without waiting for slow servers."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _fetch(self, uri: str, roots: Sequence[Path]) -> Fetched:
        try:
            return uri, self._fetcher.fetch(uri, roots)
        except self._pass_on:
            raise
        except Exception as error:  # noqa: BLE001  recorded on this image; its neighbours go on
            return uri, Failure(Code.INTERNAL, f"fetch: {type(error).__name__}: {error}")

    def _pool(self) -> ThreadPoolExecutor:
        """Return the threads, started on first use: after the fork, and only for remote pictures."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._ahead, "fetch")
        return self._threads


def _is_local(uri: str) -> bool:
    """Whether a thread would cost more than it hides."""
    return uri[:5].lower() == "file:"
