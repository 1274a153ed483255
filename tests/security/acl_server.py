"""A real Redis on loopback that knows only the users of deploy/redis/users.acl."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis

from broker.embedded import _server_binary
from tests.support.yard import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACL_FILE = ROOT / "deploy" / "redis" / "users.acl"
NAMES = ("worker", "producer", "flower")


def password(user: str) -> str:
    return f"pass-of-{user}"


def url(user: str, port: int) -> str:
    return f"redis://{user}:{password(user)}@127.0.0.1:{port}/0"


@contextmanager
def guarded_redis(folder: Path, port: int) -> Iterator[None]:
    """Run the server, its template filled in as docs/security.md says."""
    filled = ACL_FILE.read_text()
    for name in NAMES:
        filled = filled.replace(f"{name.upper()}_PASSWORD", password(name))
    users = folder / "users.acl"
    users.write_text(filled)
    command = [_server_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with (folder / "redis.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--dir", str(folder), "--aclfile", str(users)], stdout=log, stderr=log
        )
    try:
        _wait(port, server, folder / "redis.log")
        yield
    finally:
        server.terminate()
        server.wait(10)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with redis.Redis.from_url(url("worker", port)) as client:
                client.ping()
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
