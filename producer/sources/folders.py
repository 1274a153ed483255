"""Folders and globs: one walk over the directories serves both, and each directory is read once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING, Final

from core.errors import UsageError
from core.types import printable
from producer.sources.block import Block
from producer.sources.uris import absolute, file_uris

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Names that mark an image, in lower case. More than the workers decode: what they refuse gets a
#: row that says so, while a file that is not listed here would be passed over in silence.
EXTENSIONS: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".apng", ".webp", ".gif"}
    | {".bmp", ".dib", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jxl"}
    | {".jp2", ".j2k", ".jpf", ".jpx", ".pbm", ".pgm", ".pnm", ".ppm", ".tga"}
)
LOOKED_FOR: Final = f"looked for {', '.join(sorted(EXTENSIONS))}"

_WILD: Final = re.compile(r"[*?[]")
_BLOCK: Final = 4096
_ANY_DEPTH: Final = "**"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A folder and what to take below it, one part per level; `**` stands for any number of levels."""

    folder: str
    parts: tuple[str, ...] = (_ANY_DEPTH, "*")


def is_image_name(name: str) -> bool:
    """Return whether `name` has the extension of an image."""
    return name[name.rfind(".") :].lower() in EXTENSIONS


def is_glob(argument: str) -> bool:
    """Return whether `argument` holds a wildcard."""
    return _WILD.search(argument) is not None


def pattern_of(argument: str) -> Pattern:
    """Split a glob into its fixed folder and the rest.

    Raises:
        UsageError: A `..` follows a wildcard.
    """
    parts = argument.split("/")
    fixed = parts.pop(0) + "/" if argument.startswith("/") else ""
    # What exists is no wildcard: `holiday[2024]/*.jpg`.
    while len(parts) > 1 and (not is_glob(parts[0]) or os.path.lexists(fixed + parts[0])):
        fixed += parts.pop(0) + "/"
    rest = [part for part in parts if part not in {"", "."}]
    if ".." in rest:
        msg = f"{printable(argument)}: '..' cannot follow a wildcard"
        raise UsageError(msg)
    if rest and rest[-1] == _ANY_DEPTH:
        rest.append("*")
    return Pattern(absolute(fixed or "."), tuple(rest) or ("*",))


def read_pattern(pattern: Pattern, *, live: bool = False) -> Iterator[Block]:
    """Yield the images that `pattern` names, directory by directory, sorted in each.

    An entry named like an image is taken whatever it is; that it is a directory or leads nowhere is
    for its row to say. Hidden entries are passed over; links to directories are not followed by `**`.
    Below a `live` folder, directories may vanish while it is read.

    Raises:
        UsageError: A directory cannot be read.
    """
    matchers = tuple(None if part == _ANY_DEPTH else _Matcher(part) for part in pattern.parts)
    stack = [(pattern.folder, _opened({0}, matchers))]
    while stack:
        folder, states = stack.pop()
        try:
            names, inner = _scanned(folder, states, matchers)
        except UsageError as error:
            vanished = isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
            if live and vanished and folder != pattern.folder:
                continue
            raise
        prefix = folder.rstrip("/") + "/"
        for start in range(0, len(names), _BLOCK):
            yield Block(file_uris([prefix + name for name in names[start : start + _BLOCK]]))
        stack += [(prefix + name, states) for name, states in sorted(inner, reverse=True)]


class _Matcher:
    """One part of a pattern: whether an entry's name fits it."""

    def __init__(self, part: str) -> None:
        self._match = re.compile(translate(part)).match
        self._hidden = part.startswith(".")

    def __call__(self, name: str) -> bool:
        return (self._hidden or name[0] != ".") and self._match(name) is not None


#: The positions in the pattern that a directory's entries are compared with, several at once: so no
#: image comes twice, however many ways a `**` could lead to it.
_States = tuple[int, ...]
_Matchers = tuple[_Matcher | None, ...]


def _opened(states: set[int], matchers: _Matchers) -> _States:
    """Add to each `**` the part behind it, for `**` may stand for no level at all."""
    for state in sorted(states):
        after = state
        while matchers[after] is None:
            after += 1
            states.add(after)
    return tuple(sorted(states))


def _scanned(
    folder: str, states: _States, matchers: _Matchers
) -> tuple[list[str], list[tuple[str, _States]]]:
    """Return the images in one directory, and the directories below that may hold more."""
    names: list[str] = []
    inner: list[tuple[str, _States]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                taken, onward = _compared(entry, states, matchers)
                if taken:
                    names.append(entry.name)
                elif onward:
                    inner.append((entry.name, _opened(onward, matchers)))
    except OSError as error:
        msg = f"cannot read the folder {printable(folder)}: {error.strerror or error}"
        raise UsageError(msg) from error
    return sorted(names), inner


def _compared(
    entry: os.DirEntry[str], states: _States, matchers: _Matchers
) -> tuple[bool, set[int]]:
    """Return whether the entry is an image to take; if it is a directory, with which states to enter it."""
    name = entry.name
    last = len(matchers) - 1
    onward: set[int] = set()
    for state in states:
        matcher = matchers[state]
        if matcher is None:
            # A link to a directory above would have the walk run in circles.
            if name[0] != "." and entry.is_dir(follow_symlinks=False):
                onward.add(state)
        elif matcher(name):
            if state == last and is_image_name(name):
                return True, set()
            if state < last and _is_folder(entry):
                onward.add(state + 1)
    return False, onward


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself, or to where we may not look: no folder of ours.
        return False
