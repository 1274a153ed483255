"""One try at an HTTP address: at most a few hops, each one checked in full. Knows no retries."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urljoin

from core.errors import Code
from worker.fetch.body import read_body
from worker.fetch.connection import BrokenBodyError, dial, fields_of, request_to
from worker.fetch.connections import Connections
from worker.fetch.gate import HostGate
from worker.fetch.network import StaleError
from worker.fetch.refusal import Refused
from worker.fetch.retry import parse_retry_after
from worker.fetch.robots import Robots
from worker.fetch.uri import VERBATIM, HttpUrl, parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from core.limits import FetchLimits
    from worker.fetch.board import Board
    from worker.fetch.connection import Answer
    from worker.fetch.network import CheckedNetwork
    from worker.fetch.timer import Timer

#: Kept connections that may turn out to be closed before a request counts as failed.
_STALE: Final = 3
#: Largest unwanted body that is read to keep the connection; beyond it, reconnecting is cheaper.
_DRAIN_LIMIT: Final = 16 * 1024
#: Longest Retry-After for which all requests to a host wait; more ends the image that heard it.
_LONGEST_HUSH: Final = 30.0

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class HttpClient:
    """Fetches over kept-alive connections; thread-safe."""

    def __init__(
        self,
        network: CheckedNetwork,
        timer: Timer,
        tls: ssl.SSLContext,
        board: Board | None = None,
    ) -> None:
        self._timer = timer
        self._limits = timer.limits
        self._gate = HostGate(self._limits, board, timer.clock)
        self._robots: Robots | None = None
        if self._limits.robots:
            read = partial(self._follow, robots=None)
            self._robots = Robots(read, self._limits.user_agent, timer.clock)
        self._connections = Connections(partial(dial, network, tls), timer.clock)
        self._fields = fields_of(
            {
                "User-Agent": self._limits.user_agent,
                "Accept": "image/*,*/*;q=0.1",
                "Accept-Encoding": "identity",
            }
        )

    def get(self, url: HttpUrl) -> bytes:
        """Return the bytes at `url`.

        Raises:
            Refused: for everything that a server can do instead of sending them.
        """
        return self._follow(url, self._robots)

    def _follow(self, url: HttpUrl, robots: Robots | None) -> bytes:
        """Ask where `url` leads, hop by hop, each allowed by `robots`."""
        deadline = self._timer.deadline()
        seen = {url}
        for hop in range(self._limits.max_redirects + 1):
            asked = self._timer.clock()
            gap = robots.check(url) if robots else 0.0
            with self._gate.slot(url.host, gap):
                # Waiting for our own other requests is not the server's slowness.
                deadline += self._timer.clock() - asked
                answer = self._ask_anew(url, hop, deadline)
            if isinstance(answer, bytes):
                return answer
            url = follow(url, answer, self._limits)
            if url in seen:
                raise Refused(Code.TOO_MANY_REDIRECTS, "the redirects go round in a circle")
            seen.add(url)
        most = self._limits.max_redirects
        raise Refused(Code.TOO_MANY_REDIRECTS, f"more than {most} redirects")

    def close(self) -> None:
        """Close all connections and end all waiting for a host's turn."""
        self._gate.close()
        self._connections.close()

    def _ask_anew(self, url: HttpUrl, hop: int, deadline: float) -> bytes | str:
        """Ask; again and at once where a kept connection was closed just before."""
        for _ in range(_STALE):
            try:
                return self._ask(url, hop, deadline)
            except StaleError:
                continue
        return self._ask(url, hop, deadline)

    def _ask(self, url: HttpUrl, hop: int, deadline: float) -> bytes | str:
        """Return the body, or the location that the server points to."""
        origin = (url.scheme, url.host, url.port)
        try:
            with self._connections.lend(origin, deadline) as connection:
                return self._read(connection.ask(request_to(url, self._fields), deadline))
        except Refused as refused:
            # A 503 speaks of one address or of all; a 429 of us.
            if refused.code is Code.HTTP_429 and (refused.retry_after or 0) <= _LONGEST_HUSH:
                self._gate.hush(url.host, refused.retry_after or 0)
            if hop and refused.code is Code.ADDR_FORBIDDEN:
                detail = f"redirect {hop} leads to a non-public address"
                raise Refused(Code.REDIRECT_FORBIDDEN, detail) from None
            raise

    def _read(self, answer: Answer) -> bytes | str:
        if answer.status in {200, 203}:
            return read_body(answer, self._timer)
        _drain(answer)
        location = answer.headers.get(b"location")
        if answer.status in _REDIRECTS and location:
            return _text(location)
        raise _status_refusal(answer.status, answer.headers)


def follow(url: HttpUrl, location: str, limits: FetchLimits) -> HttpUrl:
    """Return where a redirect from `url` leads.

    Raises:
        Refused: REDIRECT_FORBIDDEN, for every place that we do not follow to.
    """
    try:
        target = parse(urljoin(str(url), location), limits)
    except Refused as refused:
        raise Refused(Code.REDIRECT_FORBIDDEN, f"redirect: {refused.detail}") from None
    except ValueError:
        raise Refused(Code.REDIRECT_FORBIDDEN, "redirect: the URI is malformed") from None
    if not isinstance(target, HttpUrl):
        raise Refused(Code.REDIRECT_FORBIDDEN, "redirect to what is no web page")
    if url.scheme == "https" and target.scheme == "http":
        raise Refused(Code.REDIRECT_FORBIDDEN, "redirect from https to http")
    return target


def _text(location: bytes) -> str:
    """Return a location as text; bytes that are not UTF-8 are sent back as they came."""
    try:
        return location.decode()
    except UnicodeDecodeError:
        return quote(location, safe=VERBATIM)


def _drain(answer: Answer) -> None:
    """Read a small unwanted body, so that the connection can serve the next image."""
    declared = answer.headers.get(b"content-length", b"")
    if not declared.isdigit() or int(declared) > _DRAIN_LIMIT:
        return
    try:
        for _ in answer.body:
            pass
    except (Refused, BrokenBodyError):
        return  # the status is the answer, whatever became of its body


def _status_refusal(status: int, headers: Mapping[bytes, bytes]) -> Refused:
    detail = f"HTTP {status}"
    wait = None
    if status in {429, 503}:
        text = headers.get(b"retry-after", b"").decode("latin-1")
        wait = parse_retry_after(text, datetime.now(UTC))
    if status == 429:
        return Refused(Code.HTTP_429, detail, retry_after=wait)
    if 500 <= status < 600:
        return Refused(Code.HTTP_5XX, detail, retry_after=wait)
    if status == 408:  # what a kept connection gets that the server closes for being idle
        return Refused(Code.TIMEOUT_READ, detail)
    if status in {204, 205}:
        return Refused(Code.EMPTY, detail)
    # Also what is no answer to a plain GET (206, 300, 304, 999): final, like any refusal.
    return Refused(Code.HTTP_4XX, detail)
