"""A terminal for a command under test: it sees a tty of a given size, we see what it wrote."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def on_a_terminal(
    command: Sequence[str], env: Mapping[str, str], columns: int = 100, timeout: float = 60
) -> str:
    """Run a command to its end on a terminal that answers no questions; return what it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(env), start_new_session=True
    )
    os.close(theirs)
    written: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 65536):
                written.append(part)
        except OSError:
            return  # the last one at the other end has gone

    reader = threading.Thread(target=read)
    reader.start()
    try:
        process.wait(timeout)
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        os.close(ours)
    return b"".join(written).decode(errors="replace")
