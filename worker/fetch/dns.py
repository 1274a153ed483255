"""Names to addresses, within a time limit that the system's resolver does not have."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from core.errors import Code
from worker.fetch.refusal import Refused

#: Called like `socket.getaddrinfo(host, port, family, type)`, and answers like it.
Resolve = Callable[[str, int, int, int], Sequence[tuple[Any, ...]]]
#: Per address: family, type, protocol, canonical name, socket address.
Answer = list[tuple[Any, ...]]

#: Lookups under way at once. A lookup that hangs keeps its thread; this bounds how many there are.
_LOOKUPS: Final = 32


class Resolver:
    """Asks the resolver in a thread of its own, which is abandoned when it takes too long."""

    def __init__(self, resolve: Resolve, clock: Callable[[], float]) -> None:
        self._resolve = resolve
        self._clock = clock
        self._free = threading.BoundedSemaphore(_LOOKUPS)

    def lookup(self, host: str, port: int, timeout: float) -> Answer:
        """Return what getaddrinfo says of a TCP service at `host`.

        Raises:
            Refused: DNS_NOT_FOUND or DNS_TIMEOUT.
        """
        late = Refused(Code.DNS_TIMEOUT, f"the name was not resolved within {timeout:g} s")
        until = self._clock() + timeout
        if not self._free.acquire(timeout=timeout):
            raise late
        answer: Future[Answer] = Future()
        # A daemon, and no executor: neither may keep a stopping worker from ending.
        thread = threading.Thread(
            target=self._ask, args=(host, port, answer), name="fetch-dns", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._free.release()
            raise
        try:
            return answer.result(max(0.0, until - self._clock()))
        except TimeoutError:
            raise late from None
        except socket.gaierror as error:
            raise _refusal(error) from None
        except (OSError, UnicodeError):
            raise Refused(Code.DNS_NOT_FOUND, "the name cannot be resolved") from None

    def _ask(self, host: str, port: int, answer: Future[Answer]) -> None:
        try:
            answer.set_result(list(self._resolve(host, port, 0, socket.SOCK_STREAM)))
        except (OSError, ValueError) as error:
            answer.set_exception(error)
        finally:
            self._free.release()


def _refusal(error: socket.gaierror) -> Refused:
    if error.errno == socket.EAI_AGAIN:
        return Refused(Code.DNS_TIMEOUT, "the name server gave no answer")
    return Refused(Code.DNS_NOT_FOUND, "the name does not exist")
