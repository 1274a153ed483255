"""The shelf: dropped pictures under HOME, a folder for each drop, pruned by age and size."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings

DAY: Final = 86_400
#: Longest name that a picture keeps, in characters.
NAME_LENGTH: Final = 80
_ODD: Final = re.compile(r"[^\w .()+,=@#-]|\.(?=\.)")
#: What files of a format are called; any other format's file gets its name in lower case.
_ENDINGS: Final = {"JPEG": "jpg", "TIFF": "tif"}


def shelf_of(settings: Settings) -> Path:
    """Return the folder of all drops."""
    return settings.home.expanduser().absolute() / "pictures"


def new_folder(shelf: Path) -> Path:
    """Make the folder of a new drop, for its owner alone; names sort by time."""
    folder = shelf / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def free_name(folder: Path, given: str, kind: str) -> str:
    """Return the name for a picture's file: its own, harmless and new, with its format's ending.

    The ending decides how a source is read, so the sender must not choose it.
    """
    last = re.split(r"[/\\]", given)[-1]
    stem = _ODD.sub("_", last.rpartition(".")[0] or last)[:NAME_LENGTH].strip(" .") or "picture"
    ending = _ENDINGS.get(kind, kind.lower())
    names = chain([f"{stem}.{ending}"], (f"{stem} ({n}).{ending}" for n in count(2)))
    return next(name for name in names if not (folder / name).exists())


def prune(shelf: Path, keep_seconds: float, keep_bytes: int) -> int:
    """Remove drops that are too old, then the oldest until the rest is small enough; count them."""
    removed, left = 0, keep_bytes
    for folder in sorted(_folders(shelf), reverse=True):
        left -= sum(file.lstat().st_size for file in folder.iterdir())
        if left < 0 or time.time() - folder.lstat().st_mtime > keep_seconds:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _folders(shelf: Path) -> list[Path]:
    return [path for path in shelf.iterdir() if path.is_dir()] if shelf.is_dir() else []
