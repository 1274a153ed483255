"""Ports to listen on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port of this machine that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
