"""A program of the yard as a process: started, started again when it dies, stopped in good order."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from core.process import die_with_parent
from core.types import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Seconds between the restarts of a service that keeps dying, at first and at most.
FIRST_RESTART, LAST_RESTART = 1.0, 30.0
#: Seconds a service must live for its next death to count as a first one.
STEADY = 60.0
#: Seconds for a service to stop by itself after the worker's own grace time.
STOP_EXTRA: Final = 10.0
#: Bytes of a log above which the next start begins a new one and keeps the old one as `.log.1`.
MOST_LOG: Final = 64 * 2**20
#: Bytes at the end of a log in which the last line is looked for.
MOST_WORDS: Final = 4096


#: Addresses that mean all of a machine's, and where such a door is found from the machine itself.
_ALL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def from_here(address: str) -> str:
    """Return where this machine itself reaches a program that listens on `address`."""
    return _ALL.get(address, address)


@dataclass(slots=True)
class Service:
    """A program that is started again when it dies."""

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    stop_seconds: float
    #: The address and port at which it takes connections once it is up.
    door: tuple[str, int] | None = None
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _output: IO[bytes] | None = field(default=None, repr=False)
    _log_begins: int = 0
    _started: float = 0.0
    _restart_at: float = 0.0
    _asked: bool = False

    def start(self) -> None:
        """Start the program; what it prints goes to its log file."""
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._output is None and self.log.exists() and self.log.stat().st_size > MOST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        if self._output is None:
            self._output = self.log.open("ab")
            self._log_begins = self._output.tell()
        self._process = subprocess.Popen(  # noqa: S603
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self.environment,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in good order
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here at this moment
        )
        self._started = time.monotonic()
        self._asked = False

    def supervise(self) -> str:
        """Start the program again if it died, later each time; return what happened, or nothing."""
        process = self._process
        if process is None or process.poll() is None:
            return ""
        now = time.monotonic()
        if not self._restart_at:
            self.restarts = 0 if now - self._started > STEADY else self.restarts
            wait = min(LAST_RESTART, FIRST_RESTART * 2**self.restarts)
            self._restart_at = now + wait
            return f"{self.name} ended with {process.returncode}: starting it again in {wait:.0f} s"
        if now < self._restart_at:
            return ""
        self._restart_at = 0.0
        self.restarts += 1
        self.start()
        return f"{self.name} started again"

    def is_open(self) -> bool:
        """Whether the program takes connections; true of one that never does."""
        if self.door is None:
            return True
        try:
            socket.create_connection(self.door, timeout=1).close()
        except OSError:
            return False
        return True

    def last_words(self) -> str:
        """Return the last line the program printed: why it ended, if it did by itself."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_begins, self.log.stat().st_size - MOST_WORDS))
            lines = log.read(MOST_WORDS).decode(errors="replace").strip().splitlines()
        return printable(lines[-1]) if lines else ""

    @property
    def exit_code(self) -> int | None:
        """How the program ended, None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def state(self) -> str:
        """What a person wants to know about the program, in two or three words."""
        if self._process is None:
            return "stopped"
        now = time.monotonic()
        if self._restart_at:
            return f"starts again in {max(0.0, self._restart_at - now):.0f} s"
        return f"up {now - self._started:.0f} s" if self.exit_code is None else "ended"

    def ask_to_stop(self) -> None:
        """Ask the program to end, without waiting for it; once, for twice means at once."""
        if not self._asked and self._process is not None and self._process.poll() is None:
            self._asked = True
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop the program in good order, then by force."""
        self.ask_to_stop()
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            try:
                process.wait(self.stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None
