"""The fetch stage against real servers on loopback that misbehave in every way we know."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from core.errors import Code
from core.limits import FetchLimits
from core.types import Failure
from worker.fetch import Fetcher

Route = Callable[["Visit"], None]


class Visit:
    """One request as a route sees it: what was asked, and the raw socket to answer on."""

    def __init__(self, site: Site, sock: socket.socket, head: str) -> None:
        self.site = site
        self.sock = sock
        self.head = head
        self.path = head.split(" ", 2)[1]
        self.keep = False

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(
        self, body: bytes = b"", status: str = "200 OK", headers: tuple[str, ...] = ()
    ) -> None:
        """A complete answer, after which the connection stays open."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)
        self.keep = True

    def dribble(self, data: bytes, pause: float) -> None:
        for number in range(len(data)):
            self.send(data[number : number + 1])
            if self.site.stopping.wait(pause):
                return


class Site:
    """A server on 127.0.0.1 whose paths are functions; counts what reaches it."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.hits: list[str] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def on(self, path: str, route: Route) -> str:
        self.routes[path] = route
        return self.url(path)

    def stop(self) -> None:
        self.stopping.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes `accept`
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self.stopping.is_set():
                sock.close()
                return
            with self._lock:
                self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(0.05)
            keep = True
            while keep and not self.stopping.is_set():
                keep = self._one(sock)

    def _one(self, sock: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            try:
                part = sock.recv(65536)
            except TimeoutError:
                if self.stopping.is_set():
                    return False
                continue
            except OSError:
                return False
            if not part:
                return False
            data += part
        visit = Visit(self, sock, data.decode("latin-1"))
        with self._lock:
            self.hits.append(visit.path)
        sock.settimeout(5)
        try:
            self.routes[visit.path.partition("?")[0]](visit)
        except OSError:
            return False  # the client has hung up, as it should
        sock.settimeout(0.05)
        return visit.keep


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


@pytest.fixture
def limits(site: Site) -> FetchLimits:
    return FetchLimits(
        schemes=frozenset({"file", "http", "https"}),
        ports=frozenset({site.port}),
        networks=(ip_network("127.0.0.0/8"),),
        roots=(),
        max_bytes=100_000,
        connect_timeout=0.5,
        read_timeout=0.3,
        total_timeout=0.8,
        min_rate=0,
        max_redirects=3,
        tries=3,
        per_host=8,
        user_agent="classyard-test",
    )


Make = Callable[..., Fetcher]


@pytest.fixture
def make(limits: FetchLimits) -> Iterator[Make]:
    """Make fetchers; keyword arguments that are limits change the limits."""
    made: list[Fetcher] = []

    def build(**changes: Any) -> Fetcher:
        injected: dict[str, Any] = {
            name: changes.pop(name) for name in ("resolve", "sleep", "clock") if name in changes
        }
        injected.setdefault("sleep", lambda _: None)
        injected["tls"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused; loads no trust store
        made.append(Fetcher(replace(limits, **changes), **injected))
        return made[-1]

    yield build
    for fetcher in made:
        fetcher.close()


def code_of(result: bytes | Failure) -> Code | None:
    return result.code if isinstance(result, Failure) else None


def addresses(*hosts: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A resolver that answers with these addresses, and counts how often it is asked."""

    def resolve(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        resolve.asked += 1  # type: ignore[attr-defined]
        return [
            (socket.AF_INET6, kind, 6, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, kind, 6, "", (one, port))
            for one in hosts
        ]

    resolve.asked = 0  # type: ignore[attr-defined]
    return resolve


class TestAnswers:
    def test_the_bytes_come_back(self, site: Site, make: Make) -> None:
        seen: list[str] = []

        def route(visit: Visit) -> None:
            seen.append(visit.head.lower())
            visit.answer(b"picture")

        url = site.on("/a b.jpg".replace(" ", "%20"), route)
        assert make().fetch(url + "?sig=1#frag", []) == b"picture"
        head = seen[0]
        assert head.startswith("get /a%20b.jpg?sig=1 http/1.1\r\n")
        assert f"host: 127.0.0.1:{site.port}\r\n" in head
        assert "accept-encoding: identity\r\n" in head
        assert "user-agent: classyard-test\r\n" in head
        assert "cookie" not in head
        assert "authorization" not in head

    def test_chunked_and_unframed_bodies(self, site: Site, make: Make) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        one = site.on("/1", lambda v: v.send(chunked + b"3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"))
        two = site.on("/2", lambda v: v.send(b"HTTP/1.0 200 OK\r\n\r\npicture"))
        assert make().fetch(one, []) == b"picture"
        assert make().fetch(two, []) == b"picture"

    @pytest.mark.parametrize(
        ("status", "code", "tries"),
        [
            ("401 Unauthorized", Code.HTTP_4XX, 1),
            ("403 Forbidden", Code.HTTP_4XX, 1),
            ("404 Not Found", Code.HTTP_4XX, 1),
            ("410 Gone", Code.HTTP_4XX, 1),
            ("418 Teapot", Code.HTTP_4XX, 1),
            ("304 Not Modified", Code.HTTP_4XX, 1),
            ("206 Partial Content", Code.HTTP_4XX, 1),
            ("302 Found", Code.HTTP_4XX, 1),
            ("204 No Content", Code.EMPTY, 1),
            ("429 Too Many Requests", Code.HTTP_429, 3),
            ("500 Internal Server Error", Code.HTTP_5XX, 3),
            ("503 Service Unavailable", Code.HTTP_5XX, 3),
        ],
    )
    def test_statuses(self, site: Site, make: Make, status: str, code: Code, tries: int) -> None:
        url = site.on("/x", lambda v: v.answer(status=status))
        result = make().fetch(url, [])
        assert isinstance(result, Failure)
        assert result.code is code
        assert result.detail.startswith(f"HTTP {status[:3]}")
        assert len(site.hits) == tries

    def test_the_body_of_an_error_is_not_repeated(self, site: Site, make: Make) -> None:
        url = site.on("/x", lambda v: v.answer(b"internal token 42", "404 Not Found"))
        assert make().fetch(url + "?sig=secret", []) == Failure(Code.HTTP_4XX, "HTTP 404")

    def test_an_error_then_a_picture(self, site: Site, make: Make) -> None:
        def route(visit: Visit) -> None:
            if len(site.hits) == 1:
                visit.answer(status="500 Oops")
            else:
                visit.answer(b"picture")

        assert make().fetch(site.on("/x", route), []) == b"picture"
        assert len(site.hits) == 2

    @pytest.mark.parametrize("status", ["429 Slow Down", "503 Busy"])
    def test_retry_after_is_honoured(self, site: Site, make: Make, status: str) -> None:
        def route(visit: Visit) -> None:
            if len(site.hits) == 1:
                visit.answer(status=status, headers=("Retry-After: 1",))
            else:
                visit.answer(b"picture")

        pauses: list[float] = []
        assert make(sleep=pauses.append).fetch(site.on("/x", route), []) == b"picture"
        assert len(pauses) == 1
        assert pauses[0] >= 1

    def test_a_long_retry_after_ends_it(self, site: Site, make: Make) -> None:
        later = site.on("/x", lambda v: v.answer(status="429 No", headers=("Retry-After: 3600",)))
        assert make().fetch(later, []) == Failure(Code.HTTP_429, "HTTP 429; asks to wait 3600 s")
        assert len(site.hits) == 1

    @pytest.mark.parametrize(
        "nonsense",
        [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 500],
        ids=["ssh", "nothing", "status", "nul"],
    )
    def test_nonsense_is_no_answer(self, site: Site, make: Make, nonsense: bytes) -> None:
        result = make(tries=1).fetch(site.on("/x", lambda v: v.send(nonsense)), [])
        assert isinstance(result, Failure)
        assert result.code is Code.CONN_FAILED
        assert "SSH" not in result.detail


class TestBodies:
    def test_a_declared_size_is_believed_before_reading(self, site: Site, make: Make) -> None:
        url = site.on("/x", lambda v: v.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"))
        began = time.monotonic()
        assert make().fetch(url, []) == Failure(Code.TOO_LARGE, "larger than 100000 bytes")
        assert time.monotonic() - began < 0.3
        assert len(site.hits) == 1

    def test_an_endless_body_is_cut(self, site: Site, make: Make) -> None:
        def route(visit: Visit) -> None:
            visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not site.stopping.is_set():
                visit.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

        assert code_of(make().fetch(site.on("/x", route), [])) is Code.TOO_LARGE

    def test_exactly_the_largest_size_is_fine(self, site: Site, make: Make) -> None:
        assert make().fetch(site.on("/x", lambda v: v.answer(b"x" * 100_000)), []) == b"x" * 100_000

    def test_a_gzip_body_is_unpacked(self, site: Site, make: Make) -> None:
        packed = gzip.compress(b"picture" * 1000)
        url = site.on("/x", lambda v: v.answer(packed, headers=("Content-Encoding: gzip",)))
        assert make().fetch(url, []) == b"picture" * 1000

    def test_a_gzip_bomb_is_not(self, site: Site, make: Make) -> None:
        bomb = gzip.compress(b"\0" * 50_000_000)
        assert len(bomb) < 100_000
        url = site.on("/x", lambda v: v.answer(bomb, headers=("Content-Encoding: gzip",)))
        assert code_of(make().fetch(url, [])) is Code.TOO_LARGE

    @pytest.mark.parametrize(
        ("body", "encoding", "code"),
        [
            (gzip.compress(b"picture")[:-9], "gzip", Code.TRUNCATED),
            (b"no gzip at all", "gzip", Code.DECODE_FAILED),
            (b"picture", "br", Code.NOT_AN_IMAGE),
            (b"picture", "gzip, gzip", Code.NOT_AN_IMAGE),
            (gzip.compress(b""), "gzip", Code.EMPTY),
            (b"", "gzip", Code.EMPTY),
            (b"", "identity", Code.EMPTY),
        ],
        # Of their own: gzip writes the time into its bytes, and every process must find the same names.
        ids=("cut", "plain", "brotli", "twice", "packed-empty", "empty", "identity-empty"),
    )
    def test_odd_encodings(
        self, site: Site, make: Make, body: bytes, encoding: str, code: Code
    ) -> None:
        header = f"Content-Encoding: {encoding}"
        url = site.on("/x", lambda v: v.answer(body, headers=(header,)))
        assert code_of(make().fetch(url, [])) is code

    def test_a_short_body_is_tried_once_more(self, site: Site, make: Make) -> None:
        url = site.on("/x", lambda v: v.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npict"))
        result = make().fetch(url, [])
        detail = "the connection ended after 4 bytes (tried 2 times)"
        assert result == Failure(Code.TRUNCATED, detail)
        assert len(site.hits) == 2

    def test_headers_are_bounded(self, site: Site, make: Make) -> None:
        many = tuple(f"X-{number}: {'y' * 900}" for number in range(75))
        url = site.on("/many", lambda v: v.answer(b"picture", headers=many))
        assert code_of(make().fetch(url, [])) is Code.TOO_LARGE

        def endless(visit: Visit) -> None:
            visit.send(b"HTTP/1.1 200 OK\r\nX: ")
            while not site.stopping.is_set():
                visit.send(b"y" * 4096)

        assert code_of(make().fetch(site.on("/endless", endless), [])) is Code.TOO_LARGE


class TestTime:
    def test_a_silent_server(self, site: Site, make: Make) -> None:
        url = site.on("/x", lambda _: (site.stopping.wait(2), None)[1])
        began = time.monotonic()
        result = make().fetch(url, [])
        assert result == Failure(Code.TIMEOUT_READ, "no bytes for 0.3 s (tried 2 times)")
        assert time.monotonic() - began < 1.5

    def test_a_body_that_stops(self, site: Site, make: Make) -> None:
        def route(visit: Visit) -> None:
            visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npict")
            site.stopping.wait(2)

        assert code_of(make(tries=1).fetch(site.on("/x", route), [])) is Code.TIMEOUT_READ

    @pytest.mark.parametrize("part", ["headers", "body"])
    def test_dribbling_ends_with_the_deadline(self, site: Site, make: Make, part: str) -> None:
        def route(visit: Visit) -> None:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
            if part == "body":
                visit.send(head)
            visit.dribble(head + b"x" * 900, 0.05)

        began = time.monotonic()
        result = make(tries=1).fetch(site.on("/x", route), [])
        assert result == Failure(Code.TIMEOUT_TOTAL, "not finished after 0.8 s")
        assert 0.7 < time.monotonic() - began < 1.3

    def test_a_slow_body_is_given_up(self, site: Site, make: Make) -> None:
        def route(visit: Visit) -> None:
            visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            visit.dribble(b"x" * 1000, 0.05)

        fetcher = make(  # a clock ten times as fast: the 5 s of grace pass in half a second
            clock=lambda: time.monotonic() * 10, total_timeout=60, min_rate=10_000, tries=1
        )
        result = fetcher.fetch(site.on("/x", route), [])
        assert isinstance(result, Failure)
        assert result.code is Code.TOO_SLOW
        assert result.detail.endswith("bytes/s; at least 10000")

    def test_a_server_that_does_not_accept(self, make: Make) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            clients = []
            try:
                for _ in range(3):  # fill the backlog
                    clients.append(socket.socket())
                    clients[-1].setblocking(False)
                    clients[-1].connect_ex(("127.0.0.1", port))
                fetcher = make(ports=frozenset({port}), tries=1, connect_timeout=0.2)
                result = fetcher.fetch(f"http://127.0.0.1:{port}/", [])
                assert result == Failure(Code.TIMEOUT_CONNECT, "no connection for 0.2 s")
            finally:
                for client in clients:
                    client.close()

    def test_a_refused_connection_is_tried_again(self, make: Make) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        pauses: list[float] = []
        fetcher = make(ports=frozenset({port}), sleep=pauses.append)
        result = fetcher.fetch(f"http://127.0.0.1:{port}/", [])
        assert result == Failure(Code.CONN_FAILED, "connection refused (tried 3 times)")
        assert len(pauses) == 2

    def test_a_hung_resolver(self, make: Make) -> None:
        wake = threading.Event()
        fetcher = make(resolve=lambda *_: [wake.wait(10)], tries=1, ports=frozenset({80}))
        began = time.monotonic()
        assert code_of(fetcher.fetch("http://example.com/", [])) is Code.DNS_TIMEOUT
        assert time.monotonic() - began < 1
        wake.set()


class TestRedirects:
    @staticmethod
    def to(location: str, status: str = "302 Found") -> Route:
        return lambda visit: visit.answer(status=status, headers=(f"Location: {location}",))

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_followed(self, site: Site, make: Make, status: int) -> None:
        url = site.on("/a/b", self.to("../c?x=1", f"{status} Moved"))
        site.on("/c", lambda v: v.answer(b"picture"))
        assert make().fetch(url, []) == b"picture"
        assert site.hits == ["/a/b", "/c?x=1"]
        assert site.connections == 1

    def test_as_many_as_allowed(self, site: Site, make: Make) -> None:
        site.on("/0", lambda v: v.answer(b"picture"))
        for number in range(1, 5):
            site.on(f"/{number}", self.to(f"/{number - 1}"))
        assert make().fetch(site.url("/3"), []) == b"picture"
        result = make().fetch(site.url("/4"), [])
        assert result == Failure(Code.TOO_MANY_REDIRECTS, "more than 3 redirects")
        assert code_of(make(max_redirects=0).fetch(site.url("/1"), [])) is Code.TOO_MANY_REDIRECTS

    def test_circles(self, site: Site, make: Make) -> None:
        url = site.on("/x", self.to("/x#again"))
        assert code_of(make().fetch(url, [])) is Code.TOO_MANY_REDIRECTS
        assert len(site.hits) == 1

    @pytest.mark.parametrize(
        "location",
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "gopher://127.0.0.1/x",
            "data:image/png;base64,AAAA",
            "http://user:secret@127.0.0.1/",
            "http://127.0.0.1:22/",
            "http://[::1/",
            "http://a b/",
            "/" + "x" * 9000,
            "http://10.0.0.1:{port}/",
            "http://169.254.169.254:{port}/latest/meta-data/",
            "http://[::ffff:10.0.0.1]:{port}/",
            "//0x0a000001:{port}/",
        ],
    )
    def test_forbidden_targets(self, site: Site, make: Make, location: str) -> None:
        url = site.on("/x", self.to(location.format(port=site.port)))
        result = make().fetch(url, [])
        assert isinstance(result, Failure)
        assert result.code is Code.REDIRECT_FORBIDDEN
        assert "secret" not in result.detail
        assert "169.254" not in result.detail
        assert len(site.hits) == 1

    def test_the_deadline_covers_all_hops(self, site: Site, make: Make) -> None:
        def slow(target: str) -> Route:
            def route(visit: Visit) -> None:
                site.stopping.wait(0.25)
                self.to(target)(visit)

            return route

        for number in range(9):
            site.on(f"/{number}", slow(f"/{number + 1}"))
        began = time.monotonic()
        result = make(max_redirects=8, tries=1).fetch(site.url("/0"), [])
        assert code_of(result) is Code.TIMEOUT_TOTAL
        assert time.monotonic() - began < 1.3


class TestAddresses:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "0177.0.0.1", "0.0.0.0",
            "0", "169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[::1]", "[::]",
            "[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]", "[fd00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]",
            "[2002:7f00:1::1]", "224.0.0.1", "168.63.129.16", "192.0.0.9", "192.88.99.1",
        ],
    )  # fmt: skip
    def test_no_spelling_of_an_inner_address_is_reached(
        self, site: Site, make: Make, host: str
    ) -> None:
        site.on("/", lambda v: v.answer(b"inner"))
        result = make(networks=()).fetch(site.url("/", host), [])
        assert result == Failure(
            Code.ADDR_FORBIDDEN, "the host resolves to a non-public address"
        ), host
        assert not site.connections

    def test_one_bad_address_among_good_ones_is_enough(self, site: Site, make: Make) -> None:
        for hosts in (("1.1.1.1", "127.0.0.1"), ("127.0.0.1", "1.1.1.1"), ("::1", "1.1.1.1")):
            fetcher = make(networks=(), resolve=addresses(*hosts))
            result = fetcher.fetch(site.url("/", "mixed.example"), [])
            assert code_of(result) is Code.ADDR_FORBIDDEN
        assert not site.connections

    def test_a_rebinding_name_is_resolved_once_per_connection(self, site: Site, make: Make) -> None:
        answers = [addresses("127.0.0.1"), addresses("10.0.0.1")]

        def rebinding(*args: Any) -> list[tuple[Any, ...]]:
            return answers.pop(0)(*args)

        site.on("/", lambda v: v.answer(b"picture"))
        fetcher = make(resolve=rebinding)
        url = site.url("/", "rebind.example")
        assert fetcher.fetch(url, []) == b"picture"
        assert fetcher.fetch(url, []) == b"picture"  # kept alive: the checked address still
        assert len(answers) == 1
        assert code_of(make(resolve=rebinding).fetch(url, [])) is Code.ADDR_FORBIDDEN

    def test_the_host_header_keeps_the_name(self, site: Site, make: Make) -> None:
        site.on("/", lambda v: v.answer(v.head.encode()))
        result = make(resolve=addresses("127.0.0.1")).fetch(site.url("/", "Name.Example."), [])
        assert isinstance(result, bytes)
        assert f"Host: name.example:{site.port}\r\n".encode() in result

    def test_the_next_address_is_tried(self, site: Site, make: Make) -> None:
        site.on("/", lambda v: v.answer(b"picture"))
        fetcher = make(resolve=addresses("127.0.0.2", "127.0.0.1"), tries=1)
        assert fetcher.fetch(site.url("/", "two.example"), []) == b"picture"

    def test_the_peer_is_checked_again(
        self, site: Site, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("10.0.0.1", 80))
        assert code_of(make().fetch(site.url("/x"), [])) is Code.ADDR_FORBIDDEN
        assert not site.hits

    @pytest.mark.parametrize("answer", [[], [(socket.AF_UNIX, 1, 0, "", "/run/x.sock")]])
    def test_a_name_without_addresses(self, site: Site, make: Make, answer: list[Any]) -> None:
        fetcher = make(resolve=lambda *_: answer)
        assert code_of(fetcher.fetch(site.url("/", "none.example"), [])) is Code.DNS_NOT_FOUND

    def test_proxies_of_the_environment_are_ignored(
        self, site: Site, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/")
        assert make().fetch(site.on("/x", lambda v: v.answer(b"picture")), []) == b"picture"


class TestConnections:
    def test_they_are_kept(self, site: Site, make: Make) -> None:
        fetcher = make()
        good = site.on("/x", lambda v: v.answer(b"picture"))
        bad = site.on("/y", lambda v: v.answer(b"not here", "404 Not Found"))
        for _ in range(5):
            assert fetcher.fetch(good, []) == b"picture"
            assert code_of(fetcher.fetch(bad, [])) is Code.HTTP_4XX
        assert len(site.hits) == 10
        assert site.connections == 1

    def test_one_that_the_server_closed_is_replaced(self, site: Site, make: Make) -> None:
        def route(visit: Visit) -> None:
            visit.answer(b"picture")
            visit.keep = False

        fetcher = make(tries=2)
        url = site.on("/x", route)
        for _ in range(3):
            assert fetcher.fetch(url, []) == b"picture"
            time.sleep(0.02)
        assert site.connections == 3

    def test_a_host_is_not_flooded(self, site: Site, make: Make) -> None:
        inside, most, lock = 0, 0, threading.Lock()

        def route(visit: Visit) -> None:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.03)
            with lock:
                inside -= 1
            visit.answer(b"picture")

        url = site.on("/x", route)
        # The last ones wait for longer than a try may take, and that is not their fault.
        fetcher = make(per_host=2, total_timeout=0.3, tries=1)
        with ThreadPoolExecutor(12) as threads:
            results = list(threads.map(lambda _: fetcher.fetch(url, []), range(36)))
        assert results == [b"picture"] * 36
        assert most == 2
        assert site.connections <= 2

    def test_a_closed_fetcher_refuses(self, site: Site, make: Make) -> None:
        url = site.on("/x", lambda v: v.answer(b"picture"))
        fetcher = make()
        assert fetcher.fetch(url, []) == b"picture"
        fetcher.close()
        fetcher.close()
        assert code_of(fetcher.fetch(url, [])) is Code.INTERNAL

    def test_close_ends_a_pause(self, site: Site, limits: FetchLimits) -> None:
        url = site.on("/x", lambda v: v.answer(status="503 Busy", headers=("Retry-After: 20",)))
        fetcher = Fetcher(limits)
        with ThreadPoolExecutor(1) as threads:
            began = time.monotonic()
            pending = threads.submit(fetcher.fetch, url, [])
            while not site.hits:
                time.sleep(0.01)
            fetcher.close()
            assert code_of(pending.result(5)) in {Code.INTERNAL, Code.HTTP_5XX, Code.CONN_FAILED}
        assert time.monotonic() - began < 5

    def test_an_error_of_ours_becomes_a_value(self, site: Site, make: Make) -> None:
        def broken(*_: Any) -> list[tuple[Any, ...]]:
            return [(socket.AF_INET, 1, 6, "", ("not an address", 80))]

        result = make(resolve=broken).fetch(site.url("/x"), [])
        assert result == Failure(Code.INTERNAL, "unexpected ValueError while fetching")
