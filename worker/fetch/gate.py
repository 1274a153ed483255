"""At most so many requests at once to one host: be a polite guest, and survive a slow one."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator


class HostGate:
    """Hands out slots per host; forgets a host when nobody uses or awaits one."""

    def __init__(self, per_host: int, patience: float) -> None:
        self._per_host = per_host
        self._patience = patience
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def slot(self, host: str) -> Iterator[None]:
        """Hold one of the host's slots, waiting for it first.

        Raises:
            Refused: TIMEOUT_TOTAL, none became free within the gate's patience.
        """
        with self._lock:
            entry = self._hosts.setdefault(host, _Host(self._per_host))
            entry.users += 1
        try:
            if not entry.free.acquire(timeout=self._patience):
                detail = f"the host was busy for {self._patience:g} s"
                raise Refused(Code.TIMEOUT_TOTAL, detail)
            try:
                yield
            finally:
                entry.free.release()
        finally:
            with self._lock:
                entry.users -= 1
                if not entry.users:
                    del self._hosts[host]


class _Host:
    """The slots of one host, and how many threads use or await them."""

    def __init__(self, per_host: int) -> None:
        self.free = threading.Semaphore(per_host)
        self.users = 0
