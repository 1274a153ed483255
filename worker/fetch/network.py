"""Wires that lead only to checked addresses.

Every wait ends by the `deadline` it is given: the moment (on our clock) at which the whole try must
have ended, so that no dribbling server outlives it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import certifi

from core.errors import Code
from worker.fetch.address import is_allowed, parse_address
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from worker.fetch.dns import Resolver
    from worker.fetch.timer import Timer

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6})
#: Addresses of one name that are tried; all of them are checked.
_MOST_ADDRESSES: Final = 4


def default_tls() -> ssl.SSLContext:
    """Return what trusts the system's certificates and certifi's; it takes 30 ms to load them."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class CheckedNetwork:
    """Resolves once, refuses a name with any forbidden address, connects to what it checked."""

    def __init__(self, resolver: Resolver, timer: Timer) -> None:
        self._resolver = resolver
        self._timer = timer

    def connect(self, host: str, port: int, deadline: float) -> Wire:
        """Connect to `host`.

        Raises:
            Refused: for every way in which there can be no connection.
        """
        limit = self._timer.limits.connect_timeout
        found = self._resolver.lookup(host, port, self._timer.allow(limit, deadline))
        places = [(one[0], one[4]) for one in found if one[0] in _FAMILIES]
        if not places:
            raise Refused(Code.DNS_NOT_FOUND, "the name has no address")
        for _, sockaddr in places:
            self._check(sockaddr[0])
        return self._first(list(dict.fromkeys(places))[:_MOST_ADDRESSES], deadline)

    def _first(self, places: list[tuple[int, tuple[Any, ...]]], deadline: float) -> Wire:
        limit = self._timer.limits.connect_timeout
        # One deaf address must leave time for the next: each gets its share of what is left.
        until = self._timer.clock() + self._timer.allow(limit, deadline)
        refusal = Refused(Code.CONN_FAILED, "no connection")
        for number, (family, sockaddr) in enumerate(places):
            share = max(until - self._timer.clock(), 0.001) / (len(places) - number)
            try:
                return Wire(self._connect(family, sockaddr, share), self._timer)
            except TimeoutError:
                refusal = self._timer.expired(Code.TIMEOUT_CONNECT, limit, deadline)
            except OSError as error:
                refusal = Refused(Code.CONN_FAILED, _reason(error))
        raise refusal

    def _connect(self, family: int, sockaddr: tuple[Any, ...], seconds: float) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds)
            sock.connect(sockaddr)
            # What we are connected to is what counts, whatever the network did on the way.
            self._check(sock.getpeername()[0])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return sock

    def _check(self, host: str) -> None:
        if not is_allowed(parse_address(host), self._timer.limits.networks):
            # Says nothing of the address: the answer would map the operator's network.
            raise Refused(Code.ADDR_FORBIDDEN, "the host resolves to a non-public address")


class StaleError(Refused):
    """A kept connection ended before the answer's first byte: the server had closed it."""


class Wire:
    """One connection; every wait on it ends by the deadline of the try that is using it."""

    def __init__(self, sock: socket.socket, timer: Timer) -> None:
        self._sock = sock
        self._timer = timer
        #: Whether anything came since the last request, and whether that one was not the first.
        self._answered = self._kept = False

    def read(self, most: int, deadline: float) -> bytes:
        """Return what has arrived, at least one byte, or b"" at the end.

        Raises:
            Refused: if nothing came in time, or the connection broke.
            StaleError: if that happened to a kept connection before anything came.
        """
        limit = self._timer.limits.read_timeout
        self._sock.settimeout(self._timer.allow(limit, deadline))
        try:
            data = self._sock.recv(most)
        except TimeoutError:
            raise self._timer.expired(Code.TIMEOUT_READ, limit, deadline) from None
        except OSError as error:
            if isinstance(error, ssl.SSLError) and "CERTIFICATE" in (error.reason or ""):
                # TLS 1.3 says so only now: the handshake was over before the server had judged us.
                raise Refused(
                    Code.TLS_FAILED, "the server asks for a certificate of ours"
                ) from None
            self._check_kept(_reason(error))
            raise Refused(Code.CONN_FAILED, _reason(error)) from None
        if not data:
            self._check_kept("the server closed the connection without an answer")
        self._answered = True
        return data

    def _check_kept(self, reason: str) -> None:
        if self._kept and not self._answered:
            raise StaleError(Code.CONN_FAILED, reason)

    def write(self, data: bytes, deadline: float) -> None:
        """Send a request: all of `data`."""
        if self._answered:
            self._kept, self._answered = True, False
        limit = self._timer.limits.read_timeout
        self._sock.settimeout(self._timer.allow(limit, deadline))
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise self._timer.expired(Code.TIMEOUT_READ, limit, deadline) from None
        except OSError:
            pass  # reading tells more: a server may answer and close before it has read us

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def interrupt(self) -> None:
        """End all waiting on it, from another thread; closing alone would wake nobody."""
        with suppress(OSError):
            # Not the method of an `SSLSocket`, which would go on without TLS.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def is_readable(self) -> bool:
        """Whether something came that nobody has asked for: its end, most often."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def start_tls(self, context: ssl.SSLContext, host: str, deadline: float) -> Wire:
        """Return the same connection under TLS; `host` is the URI's own.

        Raises:
            Refused: TLS_FAILED, TIMEOUT_CONNECT or CONN_FAILED; the connection is closed.
        """
        limit = self._timer.limits.connect_timeout
        try:
            self._sock.settimeout(self._timer.allow(limit, deadline))
            sock = context.wrap_socket(self._sock, server_hostname=host)
        except OSError as error:
            self._sock.close()
            raise self._tls_refusal(error, limit, deadline) from None
        except BaseException:
            self._sock.close()
            raise
        return Wire(sock, self._timer)

    def _tls_refusal(self, error: OSError, limit: float, deadline: float) -> Refused:
        if isinstance(error, TimeoutError):
            return self._timer.expired(Code.TIMEOUT_CONNECT, limit, deadline)
        if isinstance(error, ssl.SSLCertVerificationError):
            return Refused(Code.TLS_FAILED, f"certificate refused: {error.verify_message}")
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            return Refused(Code.TLS_FAILED, f"no TLS: {error.reason or 'protocol error'}")
        return Refused(Code.CONN_FAILED, _reason(error))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "the TLS connection broke"
    return os.strerror(error.errno).lower() if error.errno else "the connection broke"
