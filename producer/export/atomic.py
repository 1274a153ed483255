"""Atomic: a file that appears under its name when it is complete, or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from core.errors import ClassyardError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write that takes the place of `path` once it is whole and on the disk.

    Raises:
        ClassyardError: if it cannot be written; then nothing is left behind.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as device:  # a pipe or /dev/null is no name to put a file under
                yield device
            return
        target = path.resolve()  # a symbolic link stays one
        with _replacing(target) as file:
            yield file
    except OSError as error:
        reason = error.strerror or str(error)
        raise ClassyardError(f"cannot write {path}: {reason}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    if target.is_dir():
        raise ClassyardError(f"cannot write {target}: it is a folder")
    if not target.parent.is_dir():
        raise ClassyardError(f"cannot write {target}: there is no folder {target.parent}")
    part = target.with_name(f".classyard-{secrets.token_hex(6)}.part")
    # Not mkstemp: the file is to have the mode that any file of the user's gets.
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:  # also Ctrl-C
        part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
