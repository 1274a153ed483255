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
from worker.fetch.uri import FilePath, HttpUrl, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.settings import FetchLimits
    from worker.fetch.dns import Resolve
    from worker.fetch.http import HttpClient

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
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolve: Resolve = socket.getaddrinfo,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._client: HttpClient | None = None
        self._connect = functools.partial(_connect, limits, resolve, clock, tls)
        self._local = LocalReader(limits.roots, limits.max_bytes)
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
            uri: a `file`, `http` or `https` URI.
            roots: absolute folders that the job allows for files; none means no files.
        """
        try:
            place = parse(uri, self._limits)
            if isinstance(place, FilePath):
                return self._run(functools.partial(self._local.read, place.path, roots))
            return self._run(functools.partial(self._get, place))
        except Refused as refused:
            return Failure(refused.code, refused.detail)
        # Not `Exception`: Celery's time limit is one, and must reach the task that it ends.
        except (OSError, ValueError, RuntimeError) as error:
            return Failure(Code.INTERNAL, f"unexpected {type(error).__name__} while fetching")

    def close(self) -> None:
        """Close all connections and end all pauses; HTTP is refused from now on."""
        self._closed.set()
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _get(self, url: HttpUrl) -> bytes:
        return self._http().get(url)

    def _http(self) -> HttpClient:
        # Late, because trust stores take 30 ms to load and local jobs never need them.
        with self._lock:
            if self._closed.is_set():
                raise Refused(Code.INTERNAL, "the fetcher is closed")
            if self._client is None:
                self._client = self._connect()
            return self._client


def _connect(
    limits: FetchLimits,
    resolve: Resolve,
    clock: Callable[[], float],
    tls: ssl.SSLContext | None,
) -> HttpClient:
    import httpcore

    from worker.fetch.dns import Resolver
    from worker.fetch.http import HttpClient
    from worker.fetch.network import CheckedNetwork
    from worker.fetch.timer import Timer

    timer = Timer(limits, clock)
    network = CheckedNetwork(Resolver(resolve, clock), timer)
    return HttpClient(network, timer, tls or httpcore.default_ssl_context())
