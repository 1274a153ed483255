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
import threading
import time
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
        # In a thread: should the server die by itself, nobody must wait for this guard.
        stopper = threading.Thread(
            target=_stop_when_unused, args=(users.fileno(), server), daemon=True
        )
        stopper.start()
        return server.wait()


def _stop_when_unused(lock: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the lock is ours, asleep in the kernel; then end the server."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    server.terminate()
    time.sleep(STOP_SECONDS)  # the process, and this thread with it, ends with the server
    server.kill()


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(guard(Path(sys.argv[1]), sys.argv[2:]))
