"""The embedded Redis's guard: starts the server, and stops it when its last user has gone.

A process of its own, so that the server outlives whoever happened to start it, but not the last of
its users, however they ended. Only the standard library: it is started often and idles for hours.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

#: Seconds for the server to write what it holds and end; users who come meanwhile wait for it.
STOP_SECONDS = 20


def guard(lock: Path, command: list[str]) -> int:
    """Run the server until nobody holds a shared lock on `lock`; return its exit status."""
    # Ctrl-C and the like are meant for the users; the server goes after them. Not SIG_IGN: the server
    # would inherit it, and be deaf to our SIGTERM until it is up; it, and our lock, would stay for ever.
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(signum, lambda *_: None)
    with lock.open("w") as users:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=())  # noqa: S603
        # Not flock() alone: should the server die by itself, nobody must wait for this guard.
        _wait_for(users.fileno(), server)
        if server.poll() is None:
            server.terminate()
        try:
            return server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            return server.wait()


def _wait_for(lock: int, server: subprocess.Popen[bytes]) -> None:
    """Return when the lock is ours or the server has ended."""
    while server.poll() is None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                server.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        else:
            return


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(guard(Path(sys.argv[1]), sys.argv[2:]))
