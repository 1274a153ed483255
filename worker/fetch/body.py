"""The body of one answer: bounded, complete and fast enough, or refused."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from core.errors import Code
from worker.fetch.connection import BrokenBodyError
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.fetch.connection import Answer
    from worker.fetch.timer import Timer

#: Seconds during which a body may come as slowly as it likes.
_RATE_GRACE: Final = 5.0
_GZIP: Final = 31  # zlib's window bits for "with a gzip header"
_MAGIC: Final = b"\x1f\x8b"
#: What we do not unpack. Any other word means nothing: servers say "none", "binary", "aws-chunked".
_UNREAD: Final = frozenset({"br", "zstd", "deflate", "compress"})


def read_body(answer: Answer, timer: Timer) -> bytes:
    """Return the decoded body.

    Raises:
        Refused: TOO_LARGE, TRUNCATED, EMPTY, TOO_SLOW, NOT_AN_IMAGE, or what the wire raises.
    """
    headers = answer.headers
    sink = _Sink(_encoding(headers), timer)
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and b"transfer-encoding" not in headers:
        sink.check_size(int(declared))
    try:
        for part in answer.body:
            sink.add(part)
    except BrokenBodyError:
        detail = f"the connection ended after {sink.received} bytes"
        raise Refused(Code.TRUNCATED, detail) from None
    return sink.finish()


def unpacked(content: bytes, timer: Timer) -> bytes:
    """Return what a whole gzip stream holds.

    Raises:
        Refused: TOO_LARGE, TRUNCATED, EMPTY or DECODE_FAILED.
    """
    sink = _Sink("gzip", timer)
    sink.add(content)
    return sink.finish()


def is_packed(content: bytes) -> bool:
    """Whether `content` begins as gzip does, and no picture."""
    return content.startswith(_MAGIC)


def _encoding(headers: Mapping[bytes, bytes]) -> str:
    # We ask for none, but some stores hand out what was uploaded compressed.
    text = headers.get(b"content-encoding", b"").decode("latin-1").lower()
    names = [name.strip().removeprefix("x-") for name in text.split(",")]
    if not _UNREAD.isdisjoint(names) or names.count("gzip") > 1:
        raise Refused(Code.NOT_AN_IMAGE, f"content encoding '{text[:40]}' is not supported")
    return "gzip" if "gzip" in names else ""


class _Sink:
    """Collects a body and stops it as soon as it breaks a limit."""

    def __init__(self, encoding: str, timer: Timer) -> None:
        self._gunzip = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        self._timer = timer
        self._started = timer.clock()
        self._parts: list[bytes] = []
        self._size = 0
        self.received = 0

    def add(self, part: bytes) -> None:
        self.received += len(part)
        self.check_size(self.received)
        self._check_rate()
        data = self._decode(part)
        self._size += len(data)
        self.check_size(self._size)
        self._parts.append(data)

    def finish(self) -> bytes:
        if self._gunzip is not None and self.received and not self._gunzip.eof:
            raise Refused(Code.TRUNCATED, f"the gzip stream ended after {self.received} bytes")
        if not self._size:
            raise Refused(Code.EMPTY, "the answer has no bytes")
        return b"".join(self._parts)

    def check_size(self, size: int) -> None:
        most = self._timer.limits.max_bytes
        if size > most:
            raise Refused(Code.TOO_LARGE, f"larger than {most} bytes")

    def _check_rate(self) -> None:
        elapsed = self._timer.clock() - self._started
        least = self._timer.limits.min_rate
        if elapsed > _RATE_GRACE and self.received < least * elapsed:
            rate = self.received / elapsed
            raise Refused(Code.TOO_SLOW, f"{rate:.0f} bytes/s; at least {least}")

    def _decode(self, part: bytes) -> bytes:
        if self._gunzip is None:
            return part
        # One byte more than allowed shows that it is too much, without unpacking the bomb.
        room = self._timer.limits.max_bytes - self._size + 1
        try:
            data = self._gunzip.decompress(part, room)
            # A stream may be several, one after the other.
            while (rest := self._gunzip.unused_data).startswith(_MAGIC) and len(data) < room:
                self._gunzip = zlib.decompressobj(_GZIP)
                data += self._gunzip.decompress(rest, room - len(data))
        except zlib.error:
            raise Refused(Code.DECODE_FAILED, "the gzip stream is damaged") from None
        return data
