"""Serves metrics over HTTP until the process is told to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from core.errors import ClassyardError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def serve(registry: CollectorRegistry, address: str, port: int) -> None:
    """Answer `/metrics` in a thread until SIGTERM or SIGINT comes.

    Raises:
        ClassyardError: if the port cannot be had.
    """
    from prometheus_client import start_http_server

    # Before the server's thread starts, for it inherits this: the signal is for `sigwait` alone.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        server, thread = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        reason = getattr(error, "strerror", None) or error
        raise ClassyardError(f"no metrics on {address}:{port}: {reason}") from error
    signal.sigwait(STOP)
    server.shutdown()
    server.server_close()
    thread.join()
