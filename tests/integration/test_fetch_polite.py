"""Fetch: a polite guest. Requests per second, silence after a 429, robots.txt, and who is asking."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import Code
from core.limits import FetchLimits
from core.settings import read_settings
from core.types import Failure
from tests.integration.test_fetch_http import Make, Site, Visit, limits, make, site
from worker.fetch.gate import HostGate
from worker.fetch.refusal import Refused

__all__ = ["limits", "make", "site"]

RULES = b"""
User-agent: classyard-test
Disallow: /private
Disallow: /*.gif$
Allow: /private/open

User-agent: *
Disallow: /
"""


def picture(visit: Visit) -> None:
    visit.answer(b"picture")


def rules(text: bytes = RULES, status: str = "200 OK") -> object:
    return lambda visit: visit.answer(text, status)


def test_so_many_requests_per_second_and_no_more(site: Site, make: Make) -> None:
    moments: list[float] = []
    lock = threading.Lock()

    def route(visit: Visit) -> None:
        with lock:
            moments.append(time.monotonic())
        visit.answer(b"picture")

    urls = [f"{site.on('/x', route)}?{number}" for number in range(10)]
    fetcher = make(rate_per_host=20.0)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda url: fetcher.fetch(url, []), urls)) == {b"picture"}
    assert moments[-1] - moments[0] >= 9 * 0.05 - 0.03


def test_other_hosts_do_not_wait(limits: FetchLimits) -> None:
    gate = HostGate(replace(limits, rate_per_host=1.0))
    began = time.monotonic()
    for host in "abcdefgh":
        with gate.slot(host):
            pass
    assert time.monotonic() - began < 0.5


def test_after_a_429_the_whole_host_is_left_alone(site: Site, make: Make) -> None:
    moments: list[float] = []

    def busy(visit: Visit) -> None:
        moments.append(time.monotonic())
        first = len(moments) == 1
        how = ("429 Slow", ("Retry-After: 1",)) if first else ("200 OK", ())
        visit.answer(b"" if first else b"picture", *how)

    fetcher = make(per_host=1)
    with ThreadPoolExecutor(4) as pool:
        url = site.on("/busy", busy)
        found = list(pool.map(lambda n: fetcher.fetch(f"{url}?{n}", []), range(4)))
    assert found == [b"picture"] * 4
    assert moments[1] - moments[0] >= 0.95


def test_a_silence_longer_than_patience_is_not_awaited(limits: FetchLimits) -> None:
    gate = HostGate(limits)
    with gate.slot("h"):
        gate.hush("h", 100)
    with pytest.raises(Refused) as caught, gate.slot("h"):
        pytest.fail("the host asked for silence")
    assert caught.value.code is Code.TIMEOUT_TOTAL


def test_robots_txt_is_obeyed(site: Site, make: Make) -> None:
    site.on("/robots.txt", rules())
    for path in ("/open.jpg", "/private/a.jpg", "/private/open", "/a.gif", "/a.gif.jpg"):
        site.on(path, picture)
    fetcher = make(robots=True)
    forbidden = Failure(Code.ROBOTS_FORBIDDEN, "the host's robots.txt does not allow it")
    assert fetcher.fetch(site.url("/open.jpg"), []) == b"picture"
    assert fetcher.fetch(site.url("/private/a.jpg?sig=1"), []) == forbidden
    assert fetcher.fetch(site.url("/private/open"), []) == b"picture"
    assert fetcher.fetch(site.url("/a.gif"), []) == forbidden
    assert fetcher.fetch(site.url("/a.gif.jpg"), []) == b"picture"
    assert sum("/robots.txt" in hit for hit in site.hits) == 1
    assert make(robots=False).fetch(site.url("/private/a.jpg"), []) == b"picture"


def test_a_redirect_is_judged_as_well(site: Site, make: Make) -> None:
    site.on("/robots.txt", rules())
    site.on("/private/a.jpg", picture)
    to = site.on(
        "/to", lambda v: v.answer(status="302 Found", headers=("Location: /private/a.jpg",))
    )
    assert getattr(make(robots=True).fetch(to, []), "code", None) is Code.ROBOTS_FORBIDDEN


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (b"", "404 Not Found", None),
        (b"", "403 Forbidden", None),
        (b"", "200 OK", None),
        (b"\xff\xfe\0\0 no rules at all", "200 OK", None),
        (b"", "500 Oops", Code.HTTP_5XX),
        (b"x" * 100_001, "200 OK", Code.TOO_LARGE),
    ],
)
def test_rules_that_are_missing_or_cannot_be_read(
    text: bytes, status: str, code: Code | None, site: Site, make: Make
) -> None:
    site.on("/robots.txt", rules(text, status))
    site.on("/a.jpg", picture)
    found = make(robots=True, tries=1).fetch(site.url("/a.jpg"), [])
    assert getattr(found, "code", None) is code
    if isinstance(found, Failure):
        assert found.detail.startswith("robots.txt: ")


def test_rules_are_read_once_by_many_threads_and_crawl_delay_counts(site: Site, make: Make) -> None:
    site.on("/robots.txt", rules(b"User-agent: *\nCrawl-delay: 0.1\n"))
    urls = [f"{site.on('/a.jpg', picture)}?{number}" for number in range(6)]
    fetcher = make(robots=True)
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(lambda url: fetcher.fetch(url, []), urls)) == {b"picture"}
    assert time.monotonic() - began >= 0.5
    assert sum("/robots.txt" in hit for hit in site.hits) == 1


def test_servers_are_told_how_to_reach_us() -> None:
    given = read_settings(contact="mailto:you@example.org").fetch_limits
    assert given.user_agent == "classyard/0.1 (bulk image classifier) +mailto:you@example.org"
    assert read_settings().fetch_limits.user_agent == "classyard/0.1 (bulk image classifier)"
