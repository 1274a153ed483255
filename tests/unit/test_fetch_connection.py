"""One connection: what an answer's bytes mean, however they are cut, and whether it can be used again."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from core.errors import Code
from core.settings import read_settings
from worker.fetch.connection import (
    HEAD_LIMIT,
    Answer,
    BrokenBodyError,
    Connection,
    fields_of,
    request_to,
)
from worker.fetch.network import StaleError, Wire
from worker.fetch.refusal import Refused
from worker.fetch.timer import Timer
from worker.fetch.uri import HttpUrl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"


class Ends:
    """A connection, and the server's end of it."""

    def __init__(self, home: Path) -> None:
        here, self.server = socket.socketpair()
        self.timer = Timer(read_settings(home=home).fetch_limits, time.monotonic)
        self.connection = Connection(Wire(here, self.timer))

    def ask(self, answer: bytes, *, seconds: float = 2) -> Answer:
        if answer:
            self.server.sendall(answer)
        return self.connection.ask(b"GET / HTTP/1.1\r\n\r\n", time.monotonic() + seconds)

    def feed(self, data: bytes) -> threading.Thread:
        """Send in a thread, for what no buffer holds; the reader may hang up."""

        def send() -> None:
            try:
                while True:
                    self.server.sendall(data)
            except OSError:
                return

        thread = threading.Thread(target=send)
        thread.start()
        return thread


@pytest.fixture
def ends(home: Path) -> Iterator[Ends]:
    made = Ends(home)
    yield made
    made.connection.close()
    made.server.close()


def whole(answer: Answer) -> bytes:
    return b"".join(answer.body)


def test_answers_follow_each_other(ends: Ends) -> None:
    assert not ends.connection.is_free()
    chunks = CHUNKED + b"3 \r\npic\r\n4;x=y\r\nture\r\n0\r\nServer: trailer\r\n\r\n"
    for data in (SIZED, chunks, SIZED.replace(b"200 OK", b"404 No"), SIZED):
        answer = ends.ask(data)
        assert whole(answer) == b"picture"
        assert ends.connection.is_free()
        assert not ends.connection.is_stale()
        assert b"server" not in answer.headers


def test_it_does_not_matter_how_an_answer_is_cut(ends: Ends) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    data = early + CHUNKED + b"3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"

    def dribble() -> None:
        for place in range(len(data)):
            ends.server.sendall(data[place : place + 1])
            time.sleep(0.0005)

    thread = threading.Thread(target=dribble)
    thread.start()
    answer = ends.ask(b"")
    assert (answer.status, whole(answer)) == (200, b"picture")
    assert b"link" not in answer.headers
    thread.join()


@pytest.mark.parametrize("last", ["Connection: close", "Connection: Keep-Alive, Close"])
def test_one_that_the_server_will_close_is_not_free(ends: Ends, last: str) -> None:
    data = SIZED.replace(b"\r\n\r\n", f"\r\n{last}\r\n\r\n".encode())
    assert whole(ends.ask(data)) == b"picture"
    assert not ends.connection.is_free()


def test_what_follows_an_answer_is_never_the_next_one(ends: Ends) -> None:
    other = b"HTTP/1.1 404 Not Yours\r\nX: y\r\nContent-Length: 5\r\n\r\nother"
    answer = ends.ask(SIZED + other)
    assert (answer.status, whole(answer)) == (200, b"picture")
    assert not ends.connection.is_free()


def test_what_comes_unasked_makes_it_stale(ends: Ends) -> None:
    whole(ends.ask(SIZED))
    ends.server.sendall(b"HTTP/1.1 408 Too Slow\r\n\r\n")
    assert ends.connection.is_free()
    assert ends.connection.is_stale()


def test_an_end_is_the_bodys_only_where_no_length_is_told(ends: Ends) -> None:
    ends.server.sendall(b"HTTP/1.1 200 OK\r\n\r\npict")
    ends.server.sendall(b"ure")
    ends.server.shutdown(socket.SHUT_WR)
    assert whole(ends.ask(b"")) == b"picture"
    assert not ends.connection.is_free()


@pytest.mark.parametrize(
    "data", [SIZED[:-1], CHUNKED + b"7\r\npictu", CHUNKED + b"7\r\npicture\r\n"]
)
def test_an_early_end_is_told(ends: Ends, data: bytes) -> None:
    ends.server.sendall(data)
    ends.server.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenBodyError):
        whole(ends.ask(b""))
    assert not ends.connection.is_free()


@pytest.mark.parametrize(
    "data", [b"x\r\n", b"-1\r\n", b"0x7\r\n", b"7\r\npictureX\r\n", b"fffffffffffffffff\r\n"]
)
def test_wrong_chunks_are_told(ends: Ends, data: bytes) -> None:
    with pytest.raises(BrokenBodyError):
        whole(ends.ask(CHUNKED + data))


@pytest.mark.parametrize(
    "data",
    [b"1;" + b"x" * 4096, b"0\r\n" + b"X: y\r\n" * 999, b"0\r\nX: " + b"y" * 4096],
    ids=["extension", "trailers", "trailer"],
)
def test_what_is_beside_a_body_is_bounded(ends: Ends, data: bytes) -> None:
    answer = ends.ask(CHUNKED + data)
    thread = ends.feed(data.partition(b"X" if b"X: y\r\n" in data else b"\n")[2] or b"x" * 4096)
    with pytest.raises(BrokenBodyError):
        whole(answer)
    ends.connection.close()
    thread.join(5)
    assert not thread.is_alive()


def test_heads_that_never_end_are_refused(ends: Ends) -> None:
    thread = ends.feed(b"HTTP/1.1 100 Continue\r\n\r\n")
    with pytest.raises(Refused) as caught:
        ends.ask(b"")
    assert caught.value.code is Code.TOO_LARGE
    ends.connection.close()
    thread.join(5)


def test_the_limit_of_a_head_is_that_of_its_headers(ends: Ends) -> None:
    room = HEAD_LIMIT - len(b"Content-Length: 7\r\n") - len(b"X: \r\n")
    head = b"HTTP/1.1 200 OK\r\nX: %b\r\nContent-Length: 7\r\n\r\n"
    thread = threading.Thread(target=ends.server.sendall, args=(head % (b"y" * room) + b"picture",))
    thread.start()
    assert whole(ends.ask(b"")) == b"picture"
    thread.join(5)
    thread = ends.feed(head % (b"y" * (room + 1)) + b"picture")
    with pytest.raises(Refused) as caught:
        ends.ask(b"")
    assert caught.value.code is Code.TOO_LARGE
    ends.connection.close()
    thread.join(5)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\npicture",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7, 8\r\n\r\npicture",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"220 ftp.example.org ready\r\n",
    ],
)  # fmt: skip
def test_what_is_not_http(ends: Ends, data: bytes) -> None:
    ends.server.sendall(data)
    ends.server.shutdown(socket.SHUT_WR)
    with pytest.raises(Refused) as caught:
        ends.ask(b"")
    assert caught.value.code is Code.CONN_FAILED


def test_a_kept_one_that_ends_before_its_answer_is_stale_and_a_new_one_is_not(ends: Ends) -> None:
    whole(ends.ask(SIZED))
    ends.server.shutdown(socket.SHUT_WR)
    with pytest.raises(StaleError):
        ends.ask(b"")
    assert not ends.connection.is_free()


def test_an_interrupted_wait_ends_at_once(ends: Ends) -> None:
    def interrupt() -> None:
        time.sleep(0.1)
        ends.connection.interrupt()

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    with pytest.raises(Refused) as caught:
        ends.ask(b"", seconds=20)
    assert caught.value.code is Code.CONN_FAILED
    assert time.monotonic() - began < 5
    ends.connection.interrupt()  # harmless where there is nothing to interrupt


def test_requests() -> None:
    url = HttpUrl("http", "::1", 8080, "/a?b")
    fields = fields_of({"User-Agent": "é ☃", "Accept": "*/*"})
    assert request_to(url, fields) == (
        b"GET /a?b HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: \xe9 ?\r\nAccept: */*\r\n\r\n"
    )
    posted = request_to(url, b"", b"POST", b"body")
    assert posted == b"POST /a?b HTTP/1.1\r\nHost: [::1]:8080\r\n\r\nbody"
    for text in ("a\r\nX: y", "a\0", "a\nb"):
        with pytest.raises(ValueError, match="control characters"):
            fields_of({"User-Agent": text})
