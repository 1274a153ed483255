"""One list of everything that can be wrong with an image, and what each position must end as."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import Code
from tests.integration.test_fetch_http import Site, Visit
from tests.support.pictures import FOREIGN, ODD, grey, png, scans, stored, text_bomb

SMALL = stored("PNG")
#: More than a worker of these tests takes.
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Row:
    """A URI, what it must end as (no code: with a label), and a word of its error."""

    uri: str
    code: Code | None
    word: str = ""


@dataclass(frozen=True)
class Ports:
    """Where nobody listens, where the queue is full, and where nobody speaks TLS."""

    closed: int
    deaf: int
    plain: int


def names(ports: Ports, site: Site) -> list[Row]:
    """URIs that are wrong, or lead where nobody may go or nobody answers."""
    invalid = ("http://", "http://[::1", "http://a b/", "http://-x/", "file://elsewhere/a.png")
    schemes = ("ftp://h/a.png", "gopher://h/1", "javascript:1",
               r"\\host\share\a.png", "s3://bucket/a.png")  # fmt: skip
    forbidden = ("http://me:s3cret@127.0.0.1/a", "http://127.0.0.1:22/", "http://127.0.0.1:6379/")
    inner = ("127.0.0.2", "0x7f000002", "2130706434", "127.2", "0177.0.0.2", "169.254.169.254",
             "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[fd00::1]", "[::1]", "0.0.0.0", "10.0.0.1",
             "mixed.test", "rebinding.test", "inner6.test")  # fmt: skip
    here = f"http://127.0.0.1:{site.port}"
    return [
        *(Row(uri, Code.URI_INVALID) for uri in invalid),
        *(Row(uri, Code.URI_SCHEME) for uri in schemes),
        Row("data:image/png;base64,AAAA", Code.NOT_AN_IMAGE, "zero bytes"),
        Row("data:image/png;base64,A", Code.URI_INVALID, "base64"),
        Row("zip:///etc/passwd!/a.png", Code.PATH_FORBIDDEN),
        *(Row(uri, Code.URI_FORBIDDEN) for uri in forbidden),
        *(Row(f"http://{host}/meta-data", Code.ADDR_FORBIDDEN, "non-public") for host in inner),
        *(Row(f"http://missing{n}.test/a.png", Code.DNS_NOT_FOUND) for n in range(3)),
        *(Row(f"http://silent.test/{n}", Code.DNS_TIMEOUT, "tried 2 times") for n in range(3)),
        *(
            Row(f"http://127.0.0.1:{ports.closed}/{n}", Code.CONN_FAILED, "refused")
            for n in range(3)
        ),
        *(Row(f"http://127.0.0.1:{ports.deaf}/{n}", Code.TIMEOUT_CONNECT) for n in range(3)),
        *(Row(f"https://127.0.0.1:{ports.plain}/{n}", Code.TLS_FAILED) for n in range(3)),
        *(Row(f"http://good.test:{site.port}/good?{n}", None) for n in range(3)),
        *(Row(f"{here}/good?{n}", None) for n in range(100)),
    ]


def web(site: Site) -> list[Row]:
    """Answers of servers that are broken, slow or hostile; three of each."""
    rows = []
    for name, (code, word, route) in _routes(site).items():
        site.routes[f"/{name}"] = route
        rows += [Row(site.url(f"/{name}?{number}"), code, word) for number in range(3)]
    return rows


def _routes(site: Site) -> dict[str, tuple[Code | None, str, Callable[[Visit], None]]]:
    def says(status: str, *headers: str) -> Callable[[Visit], None]:
        return lambda visit: visit.answer(b"no", status, headers)

    def leads(location: str) -> tuple[Code, str, Callable[[Visit], None]]:
        return Code.REDIRECT_FORBIDDEN, "redirect", says("302 Found", f"Location: {location}")

    def sends(body: bytes, *headers: str) -> Callable[[Visit], None]:
        return lambda visit: visit.answer(body, headers=headers)

    bomb = gzip.compress(bytes(300 << 20), 1)
    html, gzipped = "Content-Type: image/png", "Content-Encoding: gzip"
    two = "tried 2 times"
    return {
        "good": (None, "", sends(SMALL)),
        "to-good": (None, "", says("302 Found", "Location: /good")),
        "to-inner": leads("http://127.0.0.2/"),
        "to-metadata": leads("http://169.254.169.254/latest"),
        "to-file": leads("file:///etc/passwd"),
        "to-ftp": leads("ftp://127.0.0.1/"),
        "to-user": leads("http://u:p@127.0.0.1/"),
        "circle": (Code.TOO_MANY_REDIRECTS, "circle", says("301 Moved", "Location: /circle-2")),
        "circle-2": (Code.TOO_MANY_REDIRECTS, "circle", says("301 Moved", "Location: /circle")),
        "far": (Code.TOO_MANY_REDIRECTS, "", _further),
        "401": (Code.HTTP_4XX, "401", says("401 Unauthorized")),
        "403": (Code.HTTP_4XX, "403", says("403 Forbidden")),
        "404": (Code.HTTP_4XX, "404", says("404 Not Found")),
        "410": (Code.HTTP_4XX, "410", says("410 Gone")),
        "429": (Code.HTTP_429, two, says("429 Too Many", "Retry-After: 1")),
        "429-long": (Code.HTTP_429, "asks to wait", says("429 Too Many", "Retry-After: 9999")),
        "500": (Code.HTTP_5XX, two, says("500 Oops")),
        "503": (Code.HTTP_5XX, two, says("503 Busy", "Retry-After: 1")),
        "later": (None, "", _better_later()),
        "declared": (Code.TOO_LARGE, str(MOST_BYTES), _declared),
        "endless": (Code.TOO_LARGE, str(MOST_BYTES), _endless),
        "bomb": (Code.TOO_LARGE, str(MOST_BYTES), sends(bomb, gzipped)),
        "brotli": (Code.NOT_AN_IMAGE, "br", sends(SMALL, "Content-Encoding: br")),
        "short": (Code.TRUNCATED, two, _short),
        "html": (Code.NOT_AN_IMAGE, "", sends(b"<!doctype html><title>log in", html)),
        "json": (Code.NOT_AN_IMAGE, "", sends(b'{"error": "no"}', html)),
        "text": (Code.NOT_AN_IMAGE, "", sends(b"gone fishing\n", html)),
        "empty": (Code.EMPTY, "", sends(b"")),
        "gone": (Code.CONN_FAILED, two, lambda visit: None),
        "mute": (Code.TIMEOUT_READ, two, lambda visit: _wait(visit, 60)),
        "headers": (Code.TIMEOUT_TOTAL, two, lambda visit: visit.dribble(b"HTTP/1.1 200 O" * 9, 0.2)),
        "slow": (Code.TOO_SLOW, two, _slow),
    }  # fmt: skip


def files(folder: Path) -> list[Row]:
    """Files that are none, lie elsewhere, or hold what no decoder should believe; three of each."""
    return [row for number in range(3) for row in _files(folder / str(number))]


def _files(folder: Path) -> Iterator[Row]:
    inside, outside = folder / "in", folder / "out"
    for place in (inside, outside):
        place.mkdir(parents=True)
    (outside / "secret.png").write_bytes(SMALL)
    (inside / "link.png").symlink_to(outside / "secret.png")
    (inside / "twice.png").write_bytes(SMALL)
    os.mkfifo(inside / "fifo.png")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(inside / "plug.png"))
    (inside / "closed.png").write_bytes(SMALL)
    (inside / "closed.png").chmod(0)
    (inside / "folder.png").mkdir()
    (inside / "circle.png").symlink_to(inside / "circle.png")
    root = f"file://{inside}"
    yield from [
        Row(f"file://{outside}/secret.png", Code.PATH_FORBIDDEN),
        Row(f"{root}/../out/secret.png", Code.PATH_FORBIDDEN),
        Row(f"{root}/%2e%2e/out/secret.png", Code.PATH_FORBIDDEN),
        Row(f"{root}/link.png", Code.PATH_FORBIDDEN),
        Row("file:///proc/self/environ", Code.PATH_FORBIDDEN),
        Row("file:///etc/passwd", Code.PATH_FORBIDDEN),
        Row("file:///dev/zero", Code.PATH_FORBIDDEN),
        Row(f"{root}/fifo.png", Code.NOT_A_FILE, "pipe"),
        Row(f"{root}/plug.png", Code.NOT_A_FILE, "socket"),
        Row(f"{root}/circle.png", Code.NOT_A_FILE, "circle"),
        Row(f"{root}/folder.png", Code.NOT_A_FILE, "folder"),
        Row(f"{root}/missing.png", Code.FILE_NOT_FOUND),
        Row(f"{root}/{'x' * 300}.png", Code.FILE_NOT_FOUND),
        Row(f"{root}/closed.png", Code.PERMISSION),
        Row(f"{root}/twice.png", None),
        Row(f"{root}/twice.png", None),
    ]
    for name, (code, data) in _contents().items():
        (inside / name).write_bytes(data)
        yield Row(f"{root}/{name}", code)


_made: dict[str, tuple[Code | None, bytes]] = {}


def _contents() -> dict[str, tuple[Code | None, bytes]]:
    if _made:
        return _made
    jpeg, checked = stored("JPEG"), bytearray(stored("PNG"))
    checked[-20] ^= 0xFF
    _made.update(
        {f"foreign.{name}": (Code.FORMAT_NOT_ALLOWED, make()) for name, make in FOREIGN.items()}
    )
    _made.update({name: (None, make()) for name, make in ODD.items()})
    _made.update({f"{name.decode()}.png": (Code.DECODE_FAILED, text_bomb(name))
                  for name in (b"zTXt", b"iTXt", b"iCCP")})  # fmt: skip
    _made.update({
        "empty.png": (Code.EMPTY, b""),
        "big.png": (Code.TOO_LARGE, bytes(MOST_BYTES + 1)),
        "junk.png": (Code.NOT_AN_IMAGE, bytes(range(256)) * 4),
        "cut.jpg": (Code.DECODE_FAILED, jpeg[: len(jpeg) // 2]),
        "cut.png": (Code.DECODE_FAILED, SMALL[:60]),
        "crc.png": (Code.DECODE_FAILED, bytes(checked)),
        "81mp.png": (Code.PIXELS_EXCEEDED, grey(9000, 9000)),
        "lie.png": (Code.PIXELS_EXCEEDED, png(10_000, 10_000)),
        "scans.jpg": (Code.DECODE_TIMEOUT, scans(3000, 20_000)),
        "strip.png": (Code.DIMENSIONS, grey(1, 20_001)),
        "nothing.png": (Code.DIMENSIONS, png(0, 0)),
    })  # fmt: skip
    return _made


def _further(visit: Visit) -> None:
    here, _, steps = visit.path.partition("?")
    visit.answer(status="302 Found", headers=(f"Location: {here}?{steps}1",))


def _better_later() -> Callable[[Visit], None]:
    asked: set[str] = set()

    def answer(visit: Visit) -> None:
        first = visit.path not in asked
        asked.add(visit.path)
        visit.answer(SMALL, "503 Busy" if first else "200 OK", ("Retry-After: 0",) * first)

    return answer


def _declared(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + SMALL)


def _endless(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not visit.site.stopping.is_set():
        visit.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _short(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + SMALL)


def _slow(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n")
    visit.dribble(bytes(500), 0.2)


def _wait(visit: Visit, seconds: float) -> None:
    visit.site.stopping.wait(seconds)


@contextmanager
def ports() -> Iterator[Ports]:
    """Yield ports of this machine that answer wrongly."""
    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # taken, but never listening
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        plain = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=_greet, args=(plain,))
        thread.start()
        yield Ports(*(sock.getsockname()[1] for sock in (closed, deaf, plain)))
        plain.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def _greet(listener: socket.socket) -> None:
    """Answer every connection with plain text, until the listener is shut down."""
    with suppress(OSError):
        while True:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(5)
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def manifest(rows: list[Row]) -> str:
    """Return the rows as JSON lines, the one format that keeps every URI as it is."""
    return "".join(json.dumps({"uri": row.uri}) + "\n" for row in rows)
