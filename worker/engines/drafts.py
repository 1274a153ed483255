"""Files that several processes may be making: one at a time, and seen by others only when whole."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """Yield a draft that becomes `target`, whole and on disk, unless the block fails."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix="draft-")
    draft = Path(name)
    try:
        yield draft
        os.fsync(handle)
        draft.replace(target)
    finally:
        os.close(handle)
        draft.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process prepares the same thing; the kernel unlocks if we die."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def chatter_to(log: Path) -> Iterator[None]:
    """Send all that libraries write to the terminal, from Python or C++, to a log file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with log.open("w") as file:
        for stream, _ in kept:
            os.dup2(file.fileno(), stream)
        try:
            yield
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, copy in kept:
                os.dup2(copy, stream)
                os.close(copy)
