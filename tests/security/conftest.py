"""What the security tests share."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def flower_port() -> int:
    """Another one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
