"""What all children of a worker know together about the hosts they ask: whose turn it is, who is inside.

Made before the fork. The kernel frees what a child held that died; moments are those of a clock that
all processes of a machine share and that nobody sets.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from mmap import mmap
from struct import pack_into, unpack_from
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Hosts share a place, and so their pace, once in so many times: slower than need be, never ruder.
_PLACES: Final = 1 << 16
#: Two moments per place: the next turn, and the end of the silence that the host asked for.
_ENTRY: Final = "=dd"
_WIDTH: Final = 16
#: The byte whose lock guards all moments: behind those of all slots.
_MUTEX: Final = 1 << 62


class Board:
    """Turns and slots per host, for all threads of this process and of those forked from it."""

    def __init__(self) -> None:
        self._file = _open_nameless()
        os.truncate(self._file, _PLACES * _WIDTH)  # pages that are never touched take no memory
        self._moments = mmap(self._file, _PLACES * _WIDTH)
        # Record locks belong to processes; between its threads each process decides itself.
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def __del__(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def take_slot(self, host: str, slots: int) -> int | None:
        """Return one of the host's free slots, which is the caller's now; None if there is none."""
        first = _place(host) * slots
        with self._lock:
            for slot in range(first, first + slots):
                if slot not in self._held and self._locked(slot):
                    self._held.add(slot)
                    return slot
        return None

    def free_slot(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            self._held.discard(slot)
            lockf(self._file, LOCK_UN, 1, slot)

    def take_turn(self, host: str, gap: float, now: float, patience: float) -> float | None:
        """Return the moment of the caller's turn, `gap` seconds before the next one's.

        None if it would be later than `patience` seconds from `now`; then nothing is taken.
        """
        with self._alone():
            following, silent = self._read(host)
            turn = max(now, following, silent)
            if turn - now > patience:
                return None
            self._write(host, turn + gap, silent)
            return turn

    def hush(self, host: str, until: float) -> None:
        """Let nobody's turn at `host` be before `until`."""
        with self._alone():
            following, silent = self._read(host)
            self._write(host, following, max(silent, until))

    def silent_until(self, host: str) -> float:
        """Return when the silence at `host` ends; a moment that is over if there is none."""
        with self._alone():
            return self._read(host)[1]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # The thread's lock first: two threads of one process would both be given the record's.
        with self._lock:
            lockf(self._file, LOCK_EX, 1, _MUTEX)
            try:
                yield
            finally:
                lockf(self._file, LOCK_UN, 1, _MUTEX)

    def _locked(self, slot: int) -> bool:
        try:
            lockf(self._file, LOCK_EX | LOCK_NB, 1, slot)
        except OSError:  # another process has it
            return False
        return True

    def _read(self, host: str) -> tuple[float, float]:
        following, silent = unpack_from(_ENTRY, self._moments, _place(host) * _WIDTH)
        return following, silent

    def _write(self, host: str, following: float, silent: float) -> None:
        pack_into(_ENTRY, self._moments, _place(host) * _WIDTH, following, silent)


def _open_nameless() -> int:
    """Return a file that is nowhere to be found and goes with its last user."""
    if hasattr(os, "memfd_create"):  # on a full disk a page of any other file could not be written
        return os.memfd_create("classyard-hosts", os.MFD_CLOEXEC)
    with TemporaryFile() as file:
        return os.dup(file.fileno())


def _place(host: str) -> int:
    return crc32(host.encode()) % _PLACES
