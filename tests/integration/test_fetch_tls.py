"""HTTPS against a real server whose certificate is made here."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from core.errors import Code
from core.limits import FetchLimits
from core.types import Failure
from worker.fetch import Fetcher

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=good.example",
            "-addext", "subjectAltName=DNS:good.example,IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


class Server:
    """Answers every HTTPS request on 127.0.0.1 the same way; notes the names asked for by SNI."""

    def __init__(
        self, certificate: tuple[Path, Path], answer: bytes, *, asks: bool = False
    ) -> None:
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if asks:
            self._context.load_verify_locations(certificate[0])
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.sni_callback = lambda _sock, name, _context: self.names.append(name)
        self._answer = answer
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                plain, _ = self._listener.accept()
            except TimeoutError:
                continue
            plain.settimeout(2)
            with plain, suppress(OSError), self._context.wrap_socket(plain, True) as sock:
                sock.recv(65536)
                sock.sendall(self._answer)


PICTURE = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\npicture"


@pytest.fixture
def server(certificate: tuple[Path, Path], request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(certificate, getattr(request, "param", PICTURE))
    yield server
    server.stop()


@pytest.fixture
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


def make(port: int, tls: ssl.SSLContext | None = None) -> Fetcher:
    limits = FetchLimits(
        schemes=frozenset({"http", "https"}),
        ports=frozenset({80, port}),
        networks=(ip_network("127.0.0.0/8"),),
        roots=(),
        max_bytes=1000,
        connect_timeout=0.5,
        read_timeout=0.5,
        total_timeout=1,
        min_rate=0,
        max_redirects=3,
        tries=2,
        per_host=2,
        user_agent="test",
    )
    return Fetcher(
        limits,
        resolve=lambda _host, at, _family, kind: [(socket.AF_INET, kind, 6, "", ("127.0.0.1", at))],
        sleep=lambda _: None,
        tls=tls,
    )


def test_a_trusted_server(server: Server, trusting: ssl.SSLContext) -> None:
    fetcher = make(server.port, trusting)
    assert fetcher.fetch(f"https://good.example:{server.port}/x", []) == b"picture"
    assert server.names == ["good.example"]
    fetcher.close()


def test_a_self_signed_certificate(server: Server) -> None:
    fetcher = make(server.port)
    result = fetcher.fetch(f"https://good.example:{server.port}/x", [])
    assert isinstance(result, Failure)
    assert result.code is Code.TLS_FAILED
    assert "self-signed" in result.detail.replace("self signed", "self-signed")
    assert len(server.names) == 1  # final: not tried again
    fetcher.close()


def test_a_server_that_asks_for_our_certificate(
    certificate: tuple[Path, Path], trusting: ssl.SSLContext
) -> None:
    server = Server(certificate, PICTURE, asks=True)
    fetcher = make(server.port, trusting)
    result = fetcher.fetch(f"https://good.example:{server.port}/x", [])
    server.stop()
    fetcher.close()
    assert isinstance(result, Failure)
    assert result.code is Code.TLS_FAILED
    assert len(server.names) == 1


def test_a_certificate_for_another_name(server: Server, trusting: ssl.SSLContext) -> None:
    fetcher = make(server.port, trusting)
    result = fetcher.fetch(f"https://other.example:{server.port}/x", [])
    assert isinstance(result, Failure)
    assert result.code is Code.TLS_FAILED
    fetcher.close()


DOWNGRADE = b"HTTP/1.1 302 Found\r\nLocation: http://good.example/x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("server", [DOWNGRADE], indirect=True)
def test_no_way_back_to_http(server: Server, trusting: ssl.SSLContext) -> None:
    fetcher = make(server.port, trusting)
    result = fetcher.fetch(f"https://good.example:{server.port}/x", [])
    assert result == Failure(Code.REDIRECT_FORBIDDEN, "redirect from https to http")
    fetcher.close()


def test_a_server_without_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        fetcher = make(port)
        result = fetcher.fetch(f"https://good.example:{port}/x", [])
        thread.join(5)
        fetcher.close()
    assert isinstance(result, Failure)
    assert result.code is Code.TLS_FAILED


def test_a_handshake_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fetcher = make(port)
        result = fetcher.fetch(f"https://good.example:{port}/x", [])
        fetcher.close()
    assert result == Failure(Code.TIMEOUT_CONNECT, "no connection for 0.5 s (tried 2 times)")
