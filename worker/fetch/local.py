"""The bytes of one local file, if it lies below a folder that the job and the operator allow.

The hot path of local jobs: six system calls per image.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Non-blocking: opening a FIFO without a writer would otherwise hang for ever.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FORBIDDEN: Final = (
    "the file is not below a folder that is allowed for this job: see --root and CLASSYARD_ROOTS"
)
_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Fence:
    """Prefixes of allowed paths: as they were named, and with symbolic links resolved."""

    named: tuple[bytes, ...]
    real: tuple[bytes, ...]


def build_fence(roots: Sequence[Path]) -> Fence:
    """Return the fence around `roots`; relative ones are worth nothing."""
    paths = [os.fsencode(root) for root in roots if root.is_absolute()]
    real = tuple(_prefix(os.path.realpath(path)) for path in paths)
    return Fence(tuple(_prefix(os.path.normpath(path)) for path in paths) + real, real)


def _prefix(path: bytes) -> bytes:
    return path.rstrip(b"/") + b"/"


class LocalReader:
    """Reads files inside both the job's folders and, if there are any, the operator's."""

    def __init__(self, ceiling: Sequence[Path], max_bytes: int) -> None:
        self._ceiling = tuple(ceiling)
        self._max_bytes = max_bytes
        # Resolving folders costs more than reading a picture; a worker meets few sets of them.
        self._fence = functools.lru_cache(maxsize=64)(build_fence)

    def read(self, path: bytes, roots: Sequence[Path]) -> bytes:
        """Return the whole file.

        Raises:
            Refused: for everything that a path or a file can be instead.
        """
        handle, found = self.open(path, roots, self._max_bytes)
        try:
            return self._read(handle, found.st_size)
        except OSError as error:
            raise refusal(error) from None
        finally:
            os.close(handle)

    def open(
        self, path: bytes, roots: Sequence[Path], most: int | None = None
    ) -> tuple[int, os.stat_result]:
        """Return the open file and its status; the caller closes it.

        Raises:
            Refused: as `read`; too large only if it has more bytes than `most`.
        """
        self._check_name(path, tuple(roots))
        try:
            # Before opening: opening some devices acts on them.
            _check_file(os.stat(path), most)  # noqa: PTH116 - bytes path, hot path
            handle = os.open(path, _FLAGS)
        except OSError as error:
            raise refusal(error) from None
        try:
            # What was opened is what counts: links may have moved since the name was checked.
            found = os.fstat(handle)
            _check_file(found, most)
            self._check_place(_real_path(handle, path, found), tuple(roots))
        except OSError as error:
            os.close(handle)
            raise refusal(error) from None
        except BaseException:
            os.close(handle)
            raise
        return handle, found

    def _check_name(self, path: bytes, roots: tuple[Path, ...]) -> None:
        if not self._fence(roots).real:
            raise Refused(Code.PATH_FORBIDDEN, "the job allows no folder for files")
        if b"/." in path or b"//" in path:
            path = os.path.normpath(path)
        if path.startswith(self._fence(roots).named):
            return
        # The producer names real folders, but the user may have gone through a link to reach one.
        folder = _prefix(os.path.realpath(os.path.dirname(path)))  # noqa: PTH120 - bytes path
        if not folder.startswith(self._fence(roots).real):
            raise Refused(Code.PATH_FORBIDDEN, _FORBIDDEN)

    def _check_place(self, real: bytes, roots: tuple[Path, ...]) -> None:
        if self._inside(real, roots):
            return
        # A root may be a link that has been switched to a new folder since we resolved it.
        self._fence.cache_clear()
        if not self._inside(real, roots):
            raise Refused(Code.PATH_FORBIDDEN, _FORBIDDEN)

    def _inside(self, real: bytes, roots: tuple[Path, ...]) -> bool:
        if not real.startswith(self._fence(roots).real):
            return False
        return not self._ceiling or real.startswith(self._fence(self._ceiling).real)

    def _read(self, handle: int, size: int) -> bytes:
        # One byte more than there should be: one call reads it all and sees that it is all.
        data = os.read(handle, size + 1)
        if len(data) == size:
            return data
        while len(data) <= self._max_bytes:
            more = os.read(handle, self._max_bytes + 1 - len(data))
            if not more:
                break
            data += more
        if len(data) > self._max_bytes:
            raise _too_large(self._max_bytes)
        if len(data) < size:
            raise Refused(Code.TRUNCATED, f"{len(data)} of {size} bytes: the file is changing")
        return data


def _check_file(found: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Refused(Code.NOT_A_FILE, f"it is a {_kind(found.st_mode)}")
    if most is not None and found.st_size > most:
        raise _too_large(most)
    if not found.st_size:
        raise Refused(Code.EMPTY, "the file has no bytes")


def _too_large(most: int) -> Refused:
    return Refused(Code.TOO_LARGE, f"larger than {most} bytes")


def _real_path(handle: int, path: bytes, found: os.stat_result) -> bytes:
    """Return the path of the open file without symbolic links, or b"" if it cannot be told."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % handle)  # noqa: PTH115 - bytes path
    except OSError:
        return resolve_by_identity(path, found)


def resolve_by_identity(path: bytes, found: os.stat_result) -> bytes:
    """Return the resolved path if it still leads to the file that was opened (no /proc: macOS)."""
    real = os.path.realpath(path)
    same = os.path.samestat(os.lstat(real), found)
    return real if same else b""


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device"


def refusal(error: OSError) -> Refused:
    """Return what an error of the file system means for the image."""
    if error.errno in _MISSING:
        return Refused(Code.FILE_NOT_FOUND, "no such file")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Refused(Code.PERMISSION, "the worker may not read the file")
    if error.errno == errno.ELOOP:
        return Refused(Code.NOT_A_FILE, "symbolic links go round in a circle")
    return Refused(Code.READ_FAILED, os.strerror(error.errno or 0).lower())
