"""Object stores that misbehave: a server of ours in the place of each, for what no emulator does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from core.errors import Code, UsageError
from core.limits import FetchLimits
from tests.integration.test_fetch_http import Site, Visit, site
from tests.integration.test_stores import code, credentials, fetched, limits, listed
from tests.support.stores import ACCOUNT, azure_environment

__all__ = ["credentials", "site"]

pytestmark = [
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    # Azure's library leaves a connection that timed out to the garbage collector, which closes it.
    pytest.mark.filterwarnings(
        "ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"
    ),
]

OBJECTS = {
    "s3": "/bkt/a.png",
    "gs": "/download/storage/v1/b/bkt/o/a.png",
    "az": f"/{ACCOUNT}/bkt/a.png",
}


@dataclass(frozen=True)
class Place:
    """One store's object at our server."""

    site: Site
    scheme: str

    @property
    def uri(self) -> str:
        return f"{self.scheme}://bkt/a.png"

    @property
    def path(self) -> str:
        return OBJECTS[self.scheme]

    def limits(self, **more: object) -> FetchLimits:
        endpoint = self.site.url("") if self.scheme == "s3" else ""
        anonymous = "gs" if self.scheme == "gs" else ""
        return limits(endpoint, anonymous=anonymous, **more)


@pytest.fixture(params=list(OBJECTS))
def place(
    request: pytest.FixtureRequest, site: Site, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", site.url(""))
    for name, value in azure_environment(site.url("")).items():
        monkeypatch.setenv(name, value)
    return Place(site, request.param)


def says(status: str, body: bytes = b"") -> Callable[[Visit], None]:
    return lambda visit: visit.answer(body, status)


def endless(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1 << 14):
        if visit.site.stopping.is_set():
            return
        visit.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        (says("401 Who", b"{}"), Code.PERMISSION),
        (says("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"), Code.PERMISSION),
        (says("404 Not Found"), Code.FILE_NOT_FOUND),
        (says("500 Oops"), Code.HTTP_5XX),
        (says("503 Slow", b"<Error><Code>SlowDown</Code></Error>"), Code.HTTP_5XX),
        (says("429 Many"), Code.HTTP_429),
        (says("418 Teapot"), Code.HTTP_4XX),
        (lambda visit: visit.dribble(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99, 0.1), None),
        (lambda visit: visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nxx"), None),
        (lambda visit: visit.site.stopping.wait(20), None),
        (lambda visit: None, Code.CONN_FAILED),
    ],
    ids=["401", "403", "404", "500", "503", "429", "418", "dribble", "short", "silent", "hangs up"],
)
def test_a_store_that_misbehaves(
    route: Callable[[Visit], None], wanted: Code | None, place: Place
) -> None:
    place.site.routes[place.path] = route
    began = time.monotonic()
    found = code(place.uri, place.limits(fetch_timeout=3, read_timeout=1))
    assert found is wanted or (wanted is None and found.transient), found
    assert time.monotonic() - began < 10
    if wanted not in {None, Code.CONN_FAILED}:
        assert len(place.site.hits) == 1, "the library asked again by itself"


def test_a_store_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = "http://127.0.0.1:9"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", nowhere)
    monkeypatch.setenv(*azure_environment(nowhere).popitem())
    allowed = limits(nowhere, anonymous="gs", fetch_timeout=3)
    assert code(place.uri, allowed) is Code.CONN_FAILED


def test_a_transient_error_is_tried_again(place: Place) -> None:
    def better(visit: Visit) -> None:
        busy = len(place.site.hits) < 3
        if busy:
            return visit.answer(b"", "503 Busy")
        return visit.answer(b"bytes", "206 Part", ("Content-Range: bytes 0-4/5", 'ETag: "1"'))

    place.site.routes[place.path] = better
    assert fetched(place.uri, place.limits(fetch_tries=3)) == b"bytes"
    assert len(place.site.hits) == 3


# Azure's library reads an answer whole.
@pytest.mark.parametrize("place", ["s3", "gs"], indirect=True)
def test_a_store_that_ignores_the_range_fills_no_memory(place: Place) -> None:
    place.site.routes[place.path] = endless
    assert code(place.uri, place.limits(max_bytes=1_000_000)) is Code.TOO_LARGE


@pytest.mark.parametrize("place", ["gs"], indirect=True)
def test_a_prefix_of_google_is_listed_page_by_page_through_busy_moments(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.stores._PAUSES", (0.01, 0.01))
    busy = [False, True, False, True]

    def page(visit: Visit) -> None:
        if busy and busy.pop():
            return visit.answer(b"", "503 Busy")
        asked = parse_qs(urlsplit(visit.path).query)
        assert asked["prefix"] == ["a b/"]
        first = int(asked.get("pageToken", ["0"])[0])
        names = [{"name": f"a b/{number}.jpg"} for number in range(first, first + 2)]
        more = {"nextPageToken": str(first + 2)} if first < 4 else {}
        return visit.answer(json.dumps({"items": names, **more}).encode())

    place.site.routes["/storage/v1/b/bkt/o"] = page
    wanted = [f"gs://bkt/a b/{number}.jpg" for number in range(6)]
    assert listed("gs://bkt/a b/", place.limits()) == wanted
    assert not busy
    place.site.routes["/storage/v1/b/bkt/o"] = says("403 No")
    with pytest.raises(UsageError, match=r"cannot list .*: the store refuses these credentials"):
        listed("gs://bkt/a b/", place.limits())
