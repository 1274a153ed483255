"""Watching a page in a real browser: what it logs, what it asks for, what axe-core finds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import ConsoleMessage, Page, Request

#: Faults that keep somebody from using the page.
GRAVE = ("serious", "critical")
#: Where a page may ask: itself, this machine, and what it holds already.
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
LOCAL_SCHEMES = ("data", "blob", "about")


@dataclass
class Watched:
    """A page whose misdeeds are noted: errors in the console, requests that leave this machine."""

    page: Page
    faults: list[str] = field(default_factory=list)
    _allowed: list[re.Pattern[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._note(f"uncaught: {error}"))
        self.page.on("request", self._asked)

    def allow(self, pattern: str) -> None:
        """Expect a fault: a browser logs every answer of 400 and above as an error."""
        self._allowed.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        """The faults that nobody has allowed."""
        return [f for f in self.faults if not any(known.search(f) for known in self._allowed)]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._note(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in LOCAL_SCHEMES or url.hostname in LOCAL_HOSTS:
            return
        if url.scheme == "file" and request.is_navigation_request():
            return  # the file itself, which the test opened
        self._note(f"left the page: {request.url}")

    def _note(self, fault: str) -> None:
        self.faults.append(fault)


def grave_faults(page: Page, scheme: Literal["light", "dark"]) -> list[str]:
    """Return the serious and critical faults that axe-core finds in a light or a dark page."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = Axe().run(page).response["violations"]
    return [line for fault in found if fault["impact"] in GRAVE for line in _lines(fault)]


def _lines(fault: dict[str, object]) -> Iterator[str]:
    nodes = fault["nodes"]
    assert isinstance(nodes, list)
    for node in nodes:
        yield f"{fault['id']} ({fault['impact']}): {node['html'][:200]}: {node['failureSummary']}"
