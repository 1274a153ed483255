"""Object stores: a real S3-compatible server, a server that misbehaves, fsspec's memory for the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import azure.core.exceptions as azure
import fsspec
import google.auth.exceptions as google
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from gcsfs.retry import HttpError

from core.errors import Code, UsageError
from core.limits import FetchLimits
from core.settings import read_settings
from core.stores import explained
from core.types import Failure
from producer.sources import open_sources
from tests.integration.test_fetch_http import Site, Visit
from tests.support.s3 import CREDENTIALS, PAGE, S3, s3_server
from worker.fetch import Fetcher

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def limits(endpoint: str = "", **more: Any) -> FetchLimits:
    given = {"schemes": "s3,gs,az,file", "fetch_tries": 1, "connect_timeout": 2, "read_timeout": 2}
    return read_settings(**{**given, "s3_endpoint": endpoint, **more}).fetch_limits


def fetched(uri: str, allowed: FetchLimits) -> bytes | Failure:
    fetcher = Fetcher(allowed)
    try:
        return fetcher.fetch(uri, [])
    finally:
        fetcher.close()


def code(uri: str, allowed: FetchLimits) -> Code:
    outcome = fetched(uri, allowed)
    assert isinstance(outcome, Failure), outcome
    return outcome.code


def listed(uri: str, allowed: FetchLimits) -> list[str]:
    return [uri for block in open_sources([uri], limits=allowed).blocks(100) for uri in block.uris]


def test_objects_are_their_bytes(s3: S3) -> None:
    objects = {f"scans/{n}.png": bytes([n]) * 1000 for n in range(20)}
    objects |= {"a b/ö+%2F&?x=1.png": b"odd"}
    s3.fill("bytes", objects)
    fetcher = Fetcher(limits(s3.endpoint))
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda key: fetcher.fetch(f"s3://bytes/{key}", []), objects)
        assert list(found) == list(objects.values())
    fetcher.close()


def test_what_an_object_can_be_instead(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.fill("odd", {"empty.png": b"", "just.png": bytes(1000), "large.png": bytes(1001)})
    allowed = limits(s3.endpoint, max_bytes=1000)
    assert code("s3://odd/none.png", allowed) is Code.FILE_NOT_FOUND
    assert code("s3://no-such-bucket/a.png", allowed) is Code.FILE_NOT_FOUND
    assert code("s3://odd/empty.png", allowed) is Code.EMPTY
    assert code("s3://odd/large.png", allowed) is Code.TOO_LARGE
    assert fetched("s3://odd/just.png", allowed) == bytes(1000)
    assert code("s3://odd/a.png", limits("http://127.0.0.1:9")) is Code.CONN_FAILED
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert code("s3://odd/just.png", allowed) is Code.STORE_UNAVAILABLE
    assert fetched("s3://odd/just.png", limits(s3.endpoint, anonymous="s3")) == bytes(1000)


def test_where_a_uri_may_not_lead(s3: S3) -> None:
    default = read_settings(s3_endpoint=s3.endpoint).fetch_limits
    assert code("s3://odd/just.png", default) is Code.URI_SCHEME
    fenced = limits(s3.endpoint, buckets="s3://other,s3://odd/open/")
    for key in ("just.png", "opened/a.png", "open"):
        assert code(f"s3://odd/{key}", fenced) is Code.PATH_FORBIDDEN
    assert code("s3://odd/open/none.png", fenced) is Code.FILE_NOT_FOUND
    for uri in ("s3://odd", "s3://odd/", "s3:///a.png", "s3://u:p@h/a.png", "s3://h:80/a.png",
                "s3://../a.png", "s3://odd/open/../just.png", "s3://odd//a.png"):  # fmt: skip
        assert code(uri, fenced) is Code.URI_INVALID, uri


def test_a_prefix_is_listed_page_by_page(s3: S3) -> None:
    s3.fill("many", {f"in/{n:03}.jpg": b"" for n in range(2 * PAGE)})
    for key in ("in/notes.txt", "in/.hidden.jpg", "in/.trash/a.jpg", "in/deep/z.PNG", "out/a.jpg"):
        s3.put("many", key, b"")
    allowed = limits(s3.endpoint)
    wanted = [*(f"s3://many/in/{n:03}.jpg" for n in range(2 * PAGE)), "s3://many/in/deep/z.PNG"]
    assert listed("s3://many/in/", allowed) == wanted
    assert listed("s3://many/in", allowed) == wanted
    assert len(listed("s3://many", allowed)) == len(wanted) + 1
    pages = open_sources(["s3://many/in/"], limits=allowed).sources[0].read()
    assert len(next(pages).uris) <= PAGE
    pages.close()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"no image below s3://many/none/"):
        listed("s3://many/none/", allowed)
    with pytest.raises(UsageError, match=r"cannot list s3://no-bucket/a/: no such object"):
        listed("s3://no-bucket/a/", allowed)


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.stop()


def says(status: str, body: bytes = b"") -> Callable[[Visit], None]:
    return lambda visit: visit.answer(body, status)


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        (says("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"), Code.PERMISSION),
        (says("500 Oops"), Code.HTTP_5XX),
        (says("503 Slow", b"<Error><Code>SlowDown</Code></Error>"), Code.HTTP_5XX),
        (says("429 Many"), Code.HTTP_429),
        (says("418 Teapot"), Code.HTTP_4XX),
        (lambda visit: visit.dribble(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99, 0.1), None),
        (lambda visit: visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nxx"), None),
    ],
    ids=["403", "500", "slow down", "429", "418", "dribble", "short"],
)
def test_a_store_that_misbehaves(
    route: Callable[[Visit], None], wanted: Code | None, site: Site
) -> None:
    site.routes["/bkt/a.png"] = route
    allowed = limits(site.url("").rstrip("/"), fetch_timeout=3)
    found = code("s3://bkt/a.png", allowed)
    assert found is wanted or (wanted is None and found.transient), found


def test_a_store_that_ignores_the_range_fills_no_memory(site: Site) -> None:
    sent = 0

    def endless(visit: Visit) -> None:
        nonlocal sent
        visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not site.stopping.is_set() and sent < 1 << 30:
            visit.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000

    site.routes["/bkt/a.png"] = endless
    allowed = limits(site.url("").rstrip("/"), max_bytes=1_000_000)
    assert code("s3://bkt/a.png", allowed) is Code.TOO_LARGE
    assert sent < 50 << 20


def test_a_transient_error_is_tried_again(site: Site) -> None:
    def better(visit: Visit) -> None:
        busy = sum("/bkt/a.png" in hit for hit in site.hits) < 3
        visit.answer(b"" if busy else b"bytes", "503 Busy" if busy else "200 OK")

    site.routes["/bkt/a.png"] = better
    assert fetched("s3://bkt/a.png", limits(site.url("").rstrip("/"), fetch_tries=3)) == b"bytes"


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """Fsspec's own memory in the place of the stores that have no server here."""

    class Double(MemoryFileSystem):
        cachable = False

    known = sys.modules["fsspec.registry"]._registry
    for scheme in ("gs", "az"):
        monkeypatch.setitem(known, scheme, Double)
    memory = Double()
    yield memory
    memory.rm("/", recursive=True)


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_the_other_stores_are_read_and_listed(scheme: str, double: MemoryFileSystem) -> None:
    for name in ("in/b.jpg", "in/a.jpg", "in/deep/c.png", "in/.no.jpg", "in/notes.txt", "z.jpg"):
        double.pipe_file(f"/bucket/{name}", name.encode())
    allowed = limits(max_bytes=100)
    start = f"{scheme}://bucket/in/"
    assert listed(start, allowed) == [start + name for name in ("a.jpg", "b.jpg", "deep/c.png")]
    assert fetched(f"{start}deep/c.png", allowed) == b"in/deep/c.png"
    assert code(f"{start}none.png", allowed) is Code.FILE_NOT_FOUND
    double.pipe_file("/bucket/large.jpg", bytes(101))
    assert code(f"{scheme}://bucket/large.jpg", allowed) is Code.TOO_LARGE
    with pytest.raises(UsageError, match="no such object"):
        listed(f"{scheme}://nowhere/a/", allowed)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (azure.ResourceNotFoundError("secret"), Code.FILE_NOT_FOUND),
        (azure.ClientAuthenticationError("secret"), Code.PERMISSION),
        (azure.ServiceRequestError("secret"), Code.CONN_FAILED),
        (google.DefaultCredentialsError("secret"), Code.STORE_UNAVAILABLE),
        (google.RefreshError("secret"), Code.STORE_UNAVAILABLE),
        (HttpError({"code": 403, "message": "secret"}), Code.PERMISSION),
        (HttpError({"code": 503, "message": "secret"}), Code.HTTP_5XX),
        (ConnectionResetError("secret"), Code.CONN_FAILED),
        (TimeoutError("secret"), Code.TIMEOUT_TOTAL),
        (RuntimeError("secret"), Code.READ_FAILED),
    ],
)
def test_what_a_library_raises_is_told_apart_and_not_repeated(
    error: Exception, wanted: Code
) -> None:
    found = explained(error)
    assert found.code is wanted
    assert "secret" not in found.detail


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec, "filesystem", _missing)
    outcome = fetched("gs://bucket/a.png", limits())
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.STORE_UNAVAILABLE
    assert "pip install 'classyard[gs]'" in outcome.detail


def _missing(*_: object, **__: object) -> None:
    raise ImportError
