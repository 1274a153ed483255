"""What the security tests share."""

from __future__ import annotations

import pytest

from tests.support import ports


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nobody uses just now."""
    return ports.free_port()


@pytest.fixture
def flower_port() -> int:
    """Another one."""
    return ports.free_port()
