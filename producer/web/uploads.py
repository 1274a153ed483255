"""Receiving dropped pictures: streamed to the shelf, bounded in size, number, type and time."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from core.errors import Code
from core.sniff import format_name, refuse
from core.types import Failure, printable
from producer.web.shelf import free_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO

    from starlette.requests import Request

    from core.settings import Settings

#: Seconds between two pieces of a request, and for all of it.
IDLE_SECONDS: Final = 20.0
WHOLE_SECONDS: Final = 600.0
#: Bytes of a picture that tell its format; of a form's other fields; of them and all headers.
HEAD: Final = 1024
FIELD_BYTES: Final = 500
SPARE_BYTES: Final = 64 * 1024
#: Fields of the form besides the pictures.
FIELDS: Final = 4
#: Name of a picture's file until it is known what it is.
ARRIVING: Final = ".arriving"
#: Name of the form's field of pictures.
PICTURES: Final = "picture"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a drop may hold."""

    pictures: int
    picture_bytes: int
    drop_bytes: int
    formats: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits: a picture's are the workers' own."""
        return cls(
            settings.web_pictures,
            settings.max_bytes,
            settings.web_drop_bytes,
            settings.image_limits.formats,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A picture that was not taken, and why."""

    name: str
    failure: Failure


@dataclass(slots=True)
class Drop:
    """What was received: files in order, what was refused, and the form's other fields."""

    pictures: list[Path] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


async def receive(request: Request, limits: Limits, folder: Path) -> Drop:
    """Write the pictures of a form into a folder; on any error the folder is gone.

    Raises:
        HTTPException: if the request is no such form, too large, too slow, or broken off.
    """
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            return await _receive(request, limits, folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        answer = _explained(error, limits)
        if answer is None:
            raise
        raise answer from error


async def _receive(request: Request, limits: Limits, folder: Path) -> Drop:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise HTTPException(415, "send the pictures as a form")
    parts = _Parts(limits, folder)
    with (
        PushMultipartParser(
            options["boundary"], max_segment_count=limits.pictures + FIELDS, strict=True
        ) as parser,
        parts,
    ):
        async for piece in _pieces(request, limits.drop_bytes + SPARE_BYTES):
            for event in parser.parse(piece):
                parts.take(event)
    return parts.drop


async def _pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, never more than `most` bytes, never after a long silence."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > most:
        raise ParserLimitReached
    stream, left = aiter(request.stream()), most
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        left -= len(piece)
        if left < 0:
            raise ParserLimitReached
        if piece:
            yield piece


def _explained(error: BaseException, limits: Limits) -> HTTPException | None:
    """Return an error as the answer to the request, None if it is none of the sender's."""
    match error:
        case ParserLimitReached():
            most = f"{limits.pictures} pictures and {limits.drop_bytes / 2**20:.0f} MB"
            said = 413, f"too much at once: at most {most}"
        case MultipartError():
            said = 400, "the form is malformed"
        case TimeoutError():
            said = 408, "the pictures arrived too slowly"
        case ClientDisconnect():
            said = 400, "the sender went away"
        case OSError():
            said = 507, f"no room for the pictures: {error.strerror}"
        case _:
            return None
    # The rest of the body must not be waited for: it may have no end.
    return HTTPException(*said, {"connection": "close"})


class _Parts:
    """Sorts the parts of the form: pictures into files, short texts into fields."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self.drop = Drop()
        self._limits = limits
        self._folder = folder
        self._segment: Any = None
        self._head = b""
        self._size = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Close what an error left open."""
        if self._file is not None:
            self._file.close()

    def take(self, event: Any) -> None:
        """Take one event of the parser: a part begins, bytes of it, it ends."""
        if event is None:
            self._end()
        elif isinstance(event, bytes | bytearray):
            self._add(event)
        else:
            self._segment, self._head, self._size = event, b"", 0

    @property
    def _is_picture(self) -> bool:
        return self._segment.name == PICTURES and self._segment.filename is not None

    def _add(self, data: bytes | bytearray) -> None:
        self._size += len(data)
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        if not self._is_picture:
            if self._size > FIELD_BYTES:
                raise ParserLimitReached
        elif self._size <= self._limits.picture_bytes:
            if self._file is None:
                place = self._folder / ARRIVING
                new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                self._file = os.fdopen(os.open(place, new, 0o600), "wb")
            self._file.write(data)

    def _end(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
        name = self._segment.name or ""
        if not self._is_picture:
            self.drop.fields[name] = self._head.decode(errors="replace")
            return
        given = printable(self._segment.filename, 200)
        if not given and not self._size:
            return  # the form was sent without choosing a picture
        failure = self._fault()
        arrived = self._folder / ARRIVING
        if failure is not None:
            with suppress(FileNotFoundError):
                arrived.unlink()
            self.drop.refused.append(Refused(given, failure))
            return
        kind = format_name(self._head) or ""
        kept = self._folder / free_name(self._folder, given, kind)
        arrived.rename(kept)
        self.drop.pictures.append(kept)

    def _fault(self) -> Failure | None:
        """Return why the picture that has just arrived is not taken, by its first bytes and size."""
        if not self._size:
            return Failure(Code.EMPTY, "0 bytes")
        if self._size > self._limits.picture_bytes:
            most = f"{self._limits.picture_bytes / 2**20:.0f} MiB"
            return Failure(Code.TOO_LARGE, f"more than {most}")
        if format_name(self._head) in self._limits.formats:
            return None
        return refuse(self._head, self._limits.formats)
