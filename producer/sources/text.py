"""A manifest's bytes as batches of whole lines, numbered: the common ground of every format."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from core.errors import ManifestError
from core.types import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH_BYTES: Final = 1 << 18
#: Longest line: far above what a URI and its further columns may take, far below what memory minds.
LINE_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a manifest, and the number of the first."""

    first: int
    text: str


def wrong(name: str, line: int, what: str) -> ManifestError:
    """Return the error that says where a manifest cannot be read, and why."""
    return ManifestError(f"{printable(name)}: line {line}: {what}")


def batches(stream: BinaryIO, name: str) -> Iterator[Lines]:
    """Read `stream` lazily; every batch ends where a line ends.

    Raises:
        ManifestError: The bytes are not UTF-8 text, a line is endless, or reading failed.
    """
    first = 1
    rest = _read(stream, name, first)
    if rest.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise wrong(name, first, "this is UTF-16; save it as UTF-8")
    rest = rest.removeprefix(codecs.BOM_UTF8)
    while rest:
        data = _read(stream, name, first)
        end = rest.rfind(b"\n") + 1 if data else len(rest)
        if end:
            yield Lines(first, _decoded(rest[:end], name, first))
            first += rest.count(b"\n", 0, end)
        elif len(rest) > LINE_LIMIT:
            raise wrong(name, first, f"longer than {LINE_LIMIT} bytes")
        rest = rest[end:] + data


def _read(stream: BinaryIO, name: str, line: int) -> bytes:
    try:
        return stream.read(_BATCH_BYTES)
    except OSError as error:
        raise wrong(name, line, f"cannot be read: {error.strerror or error}") from error


def _decoded(data: bytes, name: str, first: int) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = first + data.count(b"\n", 0, error.start)
        raise wrong(name, line, "not UTF-8 text") from error
    if "\0" in text:
        line = first + text.count("\n", 0, text.index("\0"))
        raise wrong(name, line, "holds a NUL character; is this a text file?")
    return text
