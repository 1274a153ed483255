"""Fetch: servers that are odd but legal, or that browsers put up with."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from core.errors import Code
from core.limits import FetchLimits
from tests.integration.test_fetch_http import (
    Make,
    Site,
    Visit,
    addresses,
    code_of,
    limits,
    make,
    site,
)
from worker.fetch import Fetcher

__all__ = ["limits", "make", "site"]

PICTURE = b"picture"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n"
LONG = b"Content-Length: 7\r\n\r\n" + PICTURE


def sends(data: bytes) -> Callable[[Visit], None]:
    return lambda visit: visit.send(data)


def encoded(name: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n" + PICTURE,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PICTURE,
        b"HTTP/1.1 200\r\n" + LONG,
        "HTTP/1.1 200 Réussi\r\n".encode("latin-1") + LONG,
        b"HTTP/1.1 200 OK\nContent-Length: 7\n\n" + PICTURE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X\r\n\r\n"
        b"7;a=b\r\n" + PICTURE + b"\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n" + LONG,
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"7\r\n" + PICTURE + b"\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Name: ö日\r\nX-Empty:\r\nX: a\r\n  folded\r\n".encode() + LONG,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 60_000 + b"\r\n" + LONG,
        encoded("gzip", gzip.compress(PICTURE)),
        encoded("x-gzip, identity", gzip.compress(PICTURE)),
        encoded("gzip", gzip.compress(PICTURE[:3]) + gzip.compress(PICTURE[3:])),
        encoded("none", PICTURE),
        encoded("aws-chunked", PICTURE),
    ],
    ids=[
        "1.0", "no length", "no reason", "reason in Latin-1", "LF", "chunks with trailers", "1xx",
        "length and chunks", "headers", "long header", "gzip", "x-gzip", "gzip in parts", "none",
        "aws-chunked",
    ],
)  # fmt: skip
def test_the_picture_comes_through(answer: bytes, site: Site, make: Make) -> None:
    assert make(tries=1).fetch(site.on("/x", sends(answer)), []) == PICTURE


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 206 Part\r\n" + LONG, Code.HTTP_4XX),
        (b"HTTP/1.1 304 Same\r\n\r\n", Code.HTTP_4XX),
        (b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n", Code.TIMEOUT_READ),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n", Code.CONN_FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n" + LONG, Code.CONN_FAILED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n" + LONG, Code.CONN_FAILED),
        (encoded("br", PICTURE), Code.NOT_AN_IMAGE),
        (encoded("gzip, gzip", PICTURE), Code.NOT_AN_IMAGE),
        (encoded("gzip", gzip.compress(PICTURE) + gzip.compress(PICTURE)[:-9]), Code.TRUNCATED),
        (encoded("gzip", gzip.compress(bytes(99_999)) * 2), Code.TOO_LARGE),
    ],
    ids=[
        "206",
        "304",
        "408",
        "101",
        "two lengths",
        "length twice",
        "br",
        "gzip twice",
        "gzip cut",
        "gzip bomb",
    ],
)
def test_what_is_no_picture(answer: bytes, code: Code, site: Site, make: Make) -> None:
    assert code_of(make(tries=1).fetch(site.on("/x", sends(answer)), [])) is code


@pytest.mark.parametrize(
    "location",
    [b"to", b"/to#fragment", b"//other.example:%d/to", b"http://other.example:%d/to?x#y",
     "/ö?ö".encode(), "/ö".encode("latin-1"), b"/a b"],
)  # fmt: skip
def test_redirects_of_any_kind(location: bytes, site: Site, make: Make) -> None:
    for path in ("/to", "/%C3%B6", "/%F6", "/a%20b"):
        site.on(path, lambda visit: visit.answer(PICTURE))
    place = location.replace(b"%d", str(site.port).encode())
    answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place
    fetcher = make(tries=1, resolve=addresses("127.0.0.1"))
    assert fetcher.fetch(site.on("/from", sends(answer)), []) == PICTURE


def test_a_kept_connection_that_the_server_closes_unseen_costs_no_try(
    site: Site, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its end may arrive between the look at the connection and the request.
    monkeypatch.setattr("worker.fetch.network.Wire.is_readable", lambda _: False)
    fetcher = make(tries=1)
    url = site.on("/x", sends(HEAD + b"\r\n" + PICTURE))
    assert [fetcher.fetch(url, []) for _ in range(5)] == [PICTURE] * 5
    assert site.connections == 5


def test_ipv6_hosts(limits: FetchLimits) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    seen: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            seen.append(sock.recv(65536))
            sock.sendall(HEAD + b"\r\n" + PICTURE)

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    opened = replace(limits, ports=frozenset({port}), networks=(ip_network("::1/128"),))
    fetcher = Fetcher(opened, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert fetcher.fetch(f"http://[::1]:{port}/x", []) == PICTURE
    thread.join(5)
    fetcher.close()
    listener.close()
    assert f"Host: [::1]:{port}".encode() in seen[0]


@pytest.mark.parametrize("host", ["straße.example", "ὀδυσσεύς.example", "a\u200db.example"])
def test_names_that_two_standards_read_differently_are_refused(
    host: str, site: Site, make: Make
) -> None:
    assert code_of(make().fetch(site.url("/x", host), [])) is Code.URI_INVALID
