"""One HTTP/1.1 connection: a request goes out, its answer comes back piece by piece, the next may follow.

httptools parses what arrives; this file decides how much is read and when the connection is spent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httptools

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ssl import SSLContext

    from worker.fetch.network import CheckedNetwork, Wire
    from worker.fetch.uri import HttpUrl

#: Most bytes of an answer's head, and of those that may precede it (100 Continue, 103 Early Hints).
HEAD_LIMIT: Final = 64 * 1024
_PIECE: Final = 64 * 1024
#: Scheme, host and port.
Origin = tuple[str, str, int]
#: What would end a header line, or begin another request.
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BrokenBodyError(Exception):
    """The body ended before its end, or is not framed as HTTP says."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. Names of headers are in lower case; of equal ones the last is kept.

    `body` yields pieces as they arrive and raises BrokenBodyError, or Refused for time-outs.
    """

    status: int
    headers: Mapping[bytes, bytes]
    body: Iterator[bytes]


def fields_of(headers: Mapping[str, str]) -> bytes:
    """Return headers as a request spells them; what is not Latin-1 becomes question marks.

    Raises:
        ValueError: for a value that would be more than one line.
    """
    for name, value in headers.items():
        if _UNSAFE.search(value):
            raise ValueError(f"the header {name} holds control characters")
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return "".join(lines).encode("latin-1", "replace")


def request_to(url: HttpUrl, fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """Return a request. `parse` has made sure that `url` holds neither blanks nor line ends."""
    target, authority = url.target.encode("ascii"), url.authority.encode("ascii")
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (method, target, authority, fields)
    return head + body


def dial(network: CheckedNetwork, tls: SSLContext, origin: Origin, deadline: float) -> Connection:
    """Return a new connection to `origin`, under TLS if its scheme is https.

    Raises:
        Refused: for every way in which there can be none.
    """
    scheme, host, port = origin
    wire = network.connect(host, port, deadline)
    return Connection(wire.start_tls(tls, host, deadline) if scheme == "https" else wire)


class Connection:
    """Asks over one wire; one request at a time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._found = _Found()

    def ask(self, request: bytes, deadline: float) -> Answer:
        """Send `request`; return the answer as soon as its head is here.

        Raises:
            Refused: for every way in which there can be no answer.
            StaleError: if the server had closed a kept connection.
        """
        self._found.begin()
        self._wire.write(request, deadline)
        self._read_head(deadline)
        found = self._found
        if found.head_size > HEAD_LIMIT:
            raise _too_long()
        coding = found.headers.get(b"transfer-encoding", b"chunked")
        if coding.lower() != b"chunked":
            raise _invalid()
        return Answer(found.status, found.headers, self._read_body(deadline))

    def is_free(self) -> bool:
        """Whether the last answer was read to its end, and the server will take another request."""
        return self._found.whole and self._found.keep

    def is_stale(self) -> bool:
        """Whether the server has closed a free connection, or sent what nobody asked for."""
        return self._wire.is_readable()

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def interrupt(self) -> None:
        """End the waiting of whoever is asking, from another thread; the asker closes."""
        self._wire.interrupt()

    def _read_head(self, deadline: float) -> None:
        received = 0
        while not self._found.has_head:
            if received > HEAD_LIMIT:
                raise _too_long()
            piece = self._wire.read(_PIECE, deadline)
            if not piece:
                detail = "the server closed the connection without an answer"
                raise Refused(Code.CONN_FAILED, detail) if not received else _invalid()
            received += len(piece)
            self._found.feed(piece)
            if self._found.broken and not self._found.has_head:
                raise _invalid()

    def _read_body(self, deadline: float) -> Iterator[bytes]:
        found = self._found
        barren = 0
        while True:
            pieces, found.pieces = found.pieces, []
            yield from pieces
            if found.whole:
                return
            # Chunks' extensions and trailers have no end of their own.
            if found.broken or barren > HEAD_LIMIT:
                raise BrokenBodyError
            piece = self._wire.read(_PIECE, deadline)
            if not piece and found.is_framed():
                raise BrokenBodyError
            if not piece:
                return  # without a length, the end of the connection is that of the body
            found.feed(piece)
            barren = 0 if found.pieces else barren + len(piece)


class _Found:
    """What the parser has found of one answer; its methods are those that httptools calls."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # Legal, or what browsers put up with: folded headers, lines that end with LF alone, a length
        # beside the chunks. Dangerous where a proxy reads otherwise; here nobody else reads.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        self.begin()

    def begin(self) -> None:
        """Forget the answer before."""
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.head_size = 0
        self.pieces: list[bytes] = []
        self.has_head = self.whole = self.keep = self.broken = False

    def feed(self, piece: bytes) -> None:
        """Parse what has arrived."""
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.broken = not self.whole  # an answer that is whole stands, whatever follows it
            self.keep = False

    def is_framed(self) -> bool:
        """Whether the answer itself says where it ends."""
        return not {b"content-length", b"transfer-encoding"}.isdisjoint(self.headers)

    def on_message_begin(self) -> None:
        if self.whole:
            raise ValueError("nobody has asked for this answer")
        self.begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # else a trailer
            self.headers[name.lower()] = value
            self.head_size += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.has_head = self.status >= 200

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.whole = self.has_head
        self.keep = self._parser.should_keep_alive()


def _too_long() -> Refused:
    return Refused(Code.TOO_LARGE, f"response headers exceed {HEAD_LIMIT} bytes")


def _invalid() -> Refused:
    return Refused(Code.CONN_FAILED, "the answer is not valid HTTP")
