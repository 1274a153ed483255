"""The web page against strangers: hosts, origins, passwords, uploads without measure."""

from __future__ import annotations

import base64
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.errors import ClassyardError, UsageError
from core.settings import read_settings
from producer.cli.web import read_password
from producer.web.guard import HEADERS
from producer.web.listening import open_door
from tests.security.page import SAMPLE, ask, drop, form, shelf
from tests.support.ports import free_port
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD = "webWORDpass"
LIMITS = {"web_pictures": 3, "max_bytes": 20_000, "web_drop_bytes": 50_000}


@pytest.fixture(scope="module")
def open_web() -> Iterator[Yard]:
    """A page without a password and without a worker, with small limits."""
    yield from web()


@pytest.fixture(scope="module", autouse=True)
def silent(open_web: Yard) -> Iterator[socket.socket]:
    """A connection that begins to ask, and then waits while all other tests run."""
    with socket.create_connection(("127.0.0.1", open_web.settings.web_port), timeout=15) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        yield line


@pytest.fixture(scope="module")
def shut_web() -> Iterator[Yard]:
    """A page behind a password."""
    yield from web(web_password=WORD, web_hosts=("yard.example",))


def web(**further: object) -> Iterator[Yard]:
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    settings = read_settings(home=home, engine="stub", web_port=free_port(), **LIMITS, **further)
    with Yard(settings) as yard:
        running = yard.start("web")
        yard.until(lambda: "Ctrl-C stops" in running.log.read_text(), what="the web page")
        yard.until(lambda: ask(yard, "GET", "/").status in {200, 401}, what="an answer")
        yield yard
        assert running.stop() == 0
        assert "Traceback" not in running.log.read_text()
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"]
)
def test_a_foreign_host_is_refused(open_web: Yard, host: str) -> None:
    answer = ask(open_web, "GET", "/", Host=host)
    assert answer.status in {400, 421}
    assert "digits" not in answer.text  # type: ignore[attr-defined]


def test_our_own_names_are_answered_also_through_a_tunnel(open_web: Yard) -> None:
    for host in ("localhost", "localhost:9999", "127.0.0.1", "[::1]:80"):
        assert ask(open_web, "GET", "/", Host=host).status == 200, host


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "https://127.0.0.1:1", "http://localhost"]
)
def test_only_our_own_pages_may_submit(open_web: Yard, origin: str) -> None:
    answer = drop(open_web, form(("a.png", SAMPLE)), Origin=origin)
    assert answer.status == 403
    assert ask(open_web, "POST", "/classify").status == 403, "and nobody without an origin"
    assert shelf(open_web) == []


def test_every_answer_carries_the_headers(open_web: Yard) -> None:
    for path in ("/", "/static/page.js", "/nowhere", "/jobs/1"):
        answer = ask(open_web, "GET", path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (path, name)
        assert answer.headers["server"] is None
    page = ask(open_web, "GET", "/").text  # type: ignore[attr-defined]
    assert " style=" not in page
    assert "<script>" not in page
    assert " onclick" not in page
    assert ask(open_web, "GET", "/static/../app.py").status == 404
    assert (
        ask(open_web, "PUT", "/", Origin=f"http://127.0.0.1:{open_web.settings.web_port}").status
        == 405
    )


@pytest.mark.parametrize(
    ("pictures", "status", "says"),
    [
        ([("note.png", b"hello")], 422, "not_an_image"),
        ([("page.jpg", b"<html><script>alert(1)</script>")], 422, "not_an_image"),
        ([("scan.png", b"II*\0" + bytes(50))], 422, "format_not_allowed"),
        ([("nothing.png", b"")], 422, "empty"),
        ([("large.png", SAMPLE + bytes(20_000))], 422, "too_large"),
        ([(f"{n}.png", SAMPLE) for n in range(8)], 413, "at most 3 pictures"),
        ([("a.png", SAMPLE + bytes(120_000))], 413, "at most 3 pictures"),
        ([], 400, "no picture"),
    ],
)
def test_what_is_no_drop_is_refused(
    open_web: Yard, pictures: list[tuple[str, bytes]], status: int, says: str
) -> None:
    answer = drop(open_web, form(*pictures))
    assert (answer.status, says in answer.text) == (status, True), answer.text  # type: ignore[attr-defined]
    assert shelf(open_web) == [], "nothing is kept"


def test_a_body_that_lies_about_its_length_is_cut_off(open_web: Yard) -> None:
    port = open_web.settings.web_port
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(
            b"POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
            b"Content-Type: multipart/form-data; boundary=cut\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        head = b'--cut\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'
        line.sendall(b"%x\r\n%s\r\n" % (len(head), head))
        sent = 0
        try:
            while sent < 50_000_000:
                line.sendall(b"%x\r\n%s\r\n" % (10_000, bytes(10_000)))
                sent += 10_000
        except OSError:
            pass
    assert sent < 50_000_000, "a stream without end is not read to its end"
    assert shelf(open_web) == []


@pytest.mark.parametrize(
    "body", [b"", b"--cut", b"--cut\r\n\r\n", b"\0" * 500, form(("a", SAMPLE))[:200]]
)
def test_a_malformed_form_is_refused(open_web: Yard, body: bytes) -> None:
    assert drop(open_web, body).status in {400, 413}
    assert drop(open_web, b"model=digits", Content_Type="text/plain").status == 415
    assert shelf(open_web) == []


def test_without_redis_a_drop_says_so_and_keeps_nothing(open_web: Yard) -> None:
    answer = drop(open_web, form(("a.png", SAMPLE)))
    assert answer.status == 503
    assert "classyard up" in answer.text  # type: ignore[attr-defined]
    assert shelf(open_web) == []
    unknown = drop(open_web, form(("a.png", SAMPLE), model="../../etc"))
    assert unknown.status == 400
    assert "no model" in unknown.text  # type: ignore[attr-defined]


def test_a_connection_that_asks_nothing_is_closed(silent: socket.socket) -> None:
    assert silent.recv(1000) == b""


def test_a_password_stands_before_everything(shut_web: Yard) -> None:
    def login(word: str) -> str:
        return "Basic " + base64.b64encode(word.encode()).decode()

    for path in ("/", "/static/page.js", "/parts/jobs", "/jobs/1/pictures/0/small", "/nowhere"):
        answer = ask(shut_web, "GET", path)
        assert answer.status == 401, path
        assert "Basic" in str(answer.headers["www-authenticate"])
    for wrong in ("classyard:no", f"root:{WORD}", "x", f"classyard:{WORD}2"):
        assert ask(shut_web, "GET", "/", Authorization=login(wrong)).status == 401
    for broken in ("Basic", "Basic !!!", "Bearer x", "Basic \xff"):
        assert ask(shut_web, "GET", "/", Authorization=broken).status == 401
    right = login(f"classyard:{WORD}")
    assert ask(shut_web, "GET", "/", Authorization=right).status == 200
    assert ask(shut_web, "GET", "/", Authorization=right, Host="yard.example").status == 200
    assert ask(shut_web, "GET", "/", Authorization=right, Host="evil.example").status == 421
    family = [shut_web.processes[0].pid, *shut_web.processes[0].children()]
    for pid in family:
        assert WORD not in Path(f"/proc/{pid}/cmdline").read_text()
        environment = Path(f"/proc/{pid}/environ").read_text()
        assert (WORD in environment) == (pid == family[0]), "the decoder of pictures knows none"


def test_an_address_for_others_needs_a_password(home: Path, tmp_path: Path) -> None:
    yard = Yard(read_settings(home=home, engine="stub"))
    done = yard.command("web", "--address", "0.0.0.0", seconds=20)
    assert done.code == 1
    assert done.err.startswith("classyard: the web page on 0.0.0.0 needs a password: set ")
    assert len(done.err.splitlines()) == 1
    for address in ("", "::", "192.0.2.1", "yard.example"):
        with pytest.raises(ClassyardError, match="password"):
            open_door(read_settings(home=home, web_address=address))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClassyardError, match="CLASSYARD_WEB_PORT"):
            open_door(read_settings(home=home, web_port=port))
    word = tmp_path / "word"
    for content in (b"", b"\n", b"\xff"):
        word.write_bytes(content)
        with pytest.raises(UsageError):
            read_password(word)
    word.write_bytes(b"  good one\n")
    assert read_password(word) == "good one"
    with pytest.raises(UsageError, match="No such file"):
        read_password(tmp_path / "none")
