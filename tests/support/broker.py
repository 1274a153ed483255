"""A plain client of the Redis that a test uses, whichever that is."""

from __future__ import annotations

from redis import Redis


def connect(broker_url: str) -> Redis:
    """Return a client that has nothing of kombu's about it."""
    if broker_url.startswith("redis+socket://"):
        return Redis(unix_socket_path=broker_url.removeprefix("redis+socket://"))
    return Redis.from_url(broker_url)
