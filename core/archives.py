"""Zip and tar archives as tables of members that are read by position; nothing is ever unpacked to disk.

Archives come from strangers: directories are bounded before they are read, members are bounded while
they are unpacked, and links are refused. Knows files only.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator
    from typing import BinaryIO

Kind = Literal["zip", "tar"]
KINDS: Final[tuple[Kind, ...]] = ("zip", "tar")
#: What stands between the archive and the member in a URI: `zip:///data/a.zip!/cats/tom.jpg`.
MARK: Final = "!/"
#: Most members of one archive, and bytes of a zip's directory: a worker holds it in memory.
MOST_MEMBERS: Final = 200_000
_MOST_DIRECTORY: Final = 64 << 20
#: Most bytes that a tar's header may ask for at once; names are far shorter.
_MOST_HEADER: Final = 1 << 20
_STORED, _DEFLATED = 0, 8
#: How compressed files begin: gzip, bzip2, xz, zstd.
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class ArchiveError(Exception):
    """An archive or a member that cannot be read; the text is one short line."""


class MemberTooLargeError(Exception):
    """A member is, or unpacks to, more than it may."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive; `problem` says why it cannot be read, if it cannot."""

    name: str
    offset: int
    stored: int
    size: int
    method: int | None = None  # None: tar, the bytes themselves
    crc: int = 0
    problem: str = ""


def members(file: BinaryIO, kind: Kind) -> Iterator[Member]:
    """Yield the files in an archive, in its order; folders are left out.

    Raises:
        ArchiveError: it is damaged, compressed as a whole, or has too many members.
    """
    # Here and not above: every command would load what few of them need.
    import tarfile
    import zipfile

    broken = (
        zipfile.BadZipFile, tarfile.TarError, NotImplementedError, EOFError, ValueError, LookupError,
        struct.error, OverflowError, RecursionError,
    )  # fmt: skip
    found = _zip_members(file) if kind == "zip" else _tar_members(file)
    try:
        for number, member in enumerate(found):
            if number == MOST_MEMBERS:
                raise ArchiveError(f"more than {MOST_MEMBERS:,} members: split the archive")
            yield member
    except broken:
        raise ArchiveError(f"no {kind} archive, damaged or cut off") from None


def read(handle: int, member: Member, most: int) -> bytes:
    """Return the bytes of a member of the open archive, at most `most`; safe from many threads.

    Raises:
        ArchiveError: the member cannot be read.
        MemberTooLargeError: it has more bytes than `most`.
    """
    if member.problem:
        raise ArchiveError(member.problem)
    # Both are what the archive claims. What is read is bounded by the one, unpacked by the other.
    if max(member.size, member.stored) > most:
        raise MemberTooLargeError
    if member.method is None:
        return _exactly(handle, member.size, member.offset)
    head = _exactly(handle, 30, member.offset)
    if head[:4] != b"PK\x03\x04":
        raise ArchiveError("the archive is damaged")
    name, extra = struct.unpack_from("<HH", head, 26)
    data = _exactly(handle, member.stored, member.offset + 30 + name + extra)
    if member.method == _DEFLATED:
        data = _inflated(data, member.size)
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise ArchiveError("the member is damaged: its checksum is wrong")
    return data


def _exactly(handle: int, size: int, offset: int) -> bytes:
    data = os.pread(handle, size, offset)
    if len(data) != size:
        raise ArchiveError("the archive is cut off")
    return data


def _inflated(data: bytes, size: int) -> bytes:
    try:
        # One byte more than announced shows a bomb without unpacking it.
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error:
        raise ArchiveError("the member is damaged") from None


def _zip_members(file: BinaryIO) -> Iterator[Member]:
    import zipfile

    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Member(
                    info.filename, info.header_offset, info.compress_size, info.file_size,
                    info.compress_type, info.CRC, _zip_problem(info),
                )  # fmt: skip


def _zip_problem(info: zipfile.ZipInfo) -> str:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return "the member is a link or a device"
    if info.flag_bits & 1:
        return "the member is encrypted"
    if info.compress_type not in {_STORED, _DEFLATED}:
        return "the member is packed in a way that is not read; use deflate"
    return ""


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that is too large before `zipfile` makes an object of every entry."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise ValueError("no directory")
    count, length = struct.unpack_from("<HI", tail, at + 10)
    if count == 0xFFFF or length == 0xFFFFFFFF:
        locator = tail.rfind(b"PK\x06\x07", 0, at)
        if locator >= 0:
            file.seek(struct.unpack_from("<Q", tail, locator + 8)[0])
            count, length = struct.unpack_from("<32xQQ", file.read(56))
    if count > MOST_MEMBERS or length > _MOST_DIRECTORY:
        raise ArchiveError(f"more than {MOST_MEMBERS:,} members: split the archive")


def _tar_members(file: BinaryIO) -> Iterator[Member]:
    import tarfile

    if file.read(6).startswith(_COMPRESSED):
        raise ArchiveError("a compressed tar has no positions: unpack it to a plain .tar")
    file.seek(0)
    last = -1
    frugal: Any = _Frugal(file)
    archive: Any  # typeshed does not know its list of members
    with tarfile.open(fileobj=frugal, mode="r:", errors="surrogateescape") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # or it keeps every header it has seen
            if info.offset_data <= last:
                raise ArchiveError("the archive is damaged")
            last = info.offset_data
            if info.isdir():
                continue
            plain = info.isreg() and not info.issparse()
            problem = "" if plain else "the member is a link, a device or sparse"
            yield Member(info.name, info.offset_data, info.size, info.size, problem=problem)


class _Frugal:
    """A file that refuses large reads: a header's claim must not fill the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.name = ""

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise ArchiveError("the archive is damaged: a header is too large")
        return self._file.read(size)
