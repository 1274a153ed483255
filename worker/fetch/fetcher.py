"""The door of this folder: one URI in, its bytes or a typed failure out."""

from __future__ import annotations

import functools
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from core.errors import Code
from core.types import Failure
from worker.fetch.local import LocalReader
from worker.fetch.refusal import Refused
from worker.fetch.retry import RetryPolicy, run
from worker.fetch.uri import FilePath, HttpUrl, Inline, MemberOf, ObjectKey, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.limits import FetchLimits
    from worker.fetch.archives import ArchiveReader
    from worker.fetch.board import Board
    from worker.fetch.dns import Resolve
    from worker.fetch.http import HttpClient
    from worker.fetch.objects import ObjectReader
    from worker.fetch.uri import Place

#: Seconds that a server may ask us to wait (Retry-After); if it asks for more, we give up.
_LONGEST_PAUSE: Final = 30.0


class Fetcher:
    """Fetches images, many at once; use it from as many threads as you like.

    Make it after forking: its connections belong to one process.

    Args:
        limits: what may be fetched, and what that may cost.
        resolve: called as `resolve(host, port, family, type)`, like `socket.getaddrinfo`.
        sleep: pauses between tries; by default a pause that `close` ends.
        clock: seconds that only grow.
        tls: whose certificates are trusted; by default the system's and certifi's.
        board: made before the fork, if other processes ask the same hosts.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolve: Resolve = socket.getaddrinfo,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
        board: Board | None = None,
    ) -> None:
        self._limits = limits
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._client: HttpClient | None = None
        self._connect = functools.partial(_connect, limits, resolve, clock, tls, board)
        self._local = LocalReader(limits.roots, limits.max_bytes)
        self._archives: ArchiveReader | None = None
        self._objects: ObjectReader | None = None
        # No image may hold its thread for long: one slow try and one long pause, then the last.
        policy = RetryPolicy(
            limits.tries, patience=_LONGEST_PAUSE, within=limits.total_timeout + _LONGEST_PAUSE
        )
        self._run = functools.partial(
            run, policy=policy, sleep=sleep or self._closed.wait, clock=clock
        )

    def fetch(self, uri: str, roots: Sequence[Path]) -> bytes | Failure:
        """Return the bytes at `uri`, or why there are none.

        Args:
            uri: a URI of one of the schemes that the limits allow.
            roots: absolute folders that the job allows for files; none means no files.
        """
        try:
            place = parse(uri, self._limits)
            return self._run(self._attempt(place, roots))
        except Refused as refused:
            return Failure(refused.code, refused.detail)
        # Not `Exception`: Celery's time limit is one, and must reach the task that it ends.
        except (OSError, ValueError, RuntimeError) as error:
            return Failure(Code.INTERNAL, f"unexpected {type(error).__name__} while fetching")

    def close(self) -> None:
        """Close all connections and end all pauses; the network is refused from now on."""
        self._closed.set()
        with self._lock:
            client, self._client = self._client, None
            self._objects = None  # its connections end with its library's loop
        if client is not None:
            client.close()

    def _attempt(self, place: Place, roots: Sequence[Path]) -> Callable[[], bytes]:
        """Return what one try at `place` is."""
        if isinstance(place, FilePath):
            return functools.partial(self._local.read, place.path, roots)
        if isinstance(place, HttpUrl):
            return lambda: self._http().get(place)
        if isinstance(place, MemberOf):
            return functools.partial(self._archive_reader().read, place, roots)
        if isinstance(place, ObjectKey):
            return lambda: self._store().read(place)
        return lambda: _inline(place, self._limits.max_bytes)

    def _archive_reader(self) -> ArchiveReader:
        with self._lock:
            if self._archives is None:
                from worker.fetch.archives import ArchiveReader

                self._archives = ArchiveReader(self._local, self._limits.max_bytes)
            return self._archives

    def _store(self) -> ObjectReader:
        # Late: the libraries of object stores take a second to load.
        with self._lock:
            self._check_open()
            if self._objects is None:
                from worker.fetch.objects import ObjectReader

                self._objects = ObjectReader(self._limits)
            return self._objects

    def _http(self) -> HttpClient:
        # Late, because trust stores take 30 ms to load and local jobs never need them.
        with self._lock:
            self._check_open()
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Refused(Code.INTERNAL, "the fetcher is closed")


def _inline(place: Inline, most: int) -> bytes:
    if len(place.content) > most:
        raise Refused(Code.TOO_LARGE, f"larger than {most} bytes")
    return place.content


def _connect(
    limits: FetchLimits,
    resolve: Resolve,
    clock: Callable[[], float],
    tls: ssl.SSLContext | None,
    board: Board | None,
) -> HttpClient:
    from worker.fetch.dns import Resolver
    from worker.fetch.http import HttpClient
    from worker.fetch.network import CheckedNetwork, default_tls
    from worker.fetch.timer import Timer

    timer = Timer(limits, clock)
    network = CheckedNetwork(Resolver(resolve, clock), timer)
    return HttpClient(network, timer, tls or default_tls(), board)
