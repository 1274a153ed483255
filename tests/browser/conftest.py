"""Chromium from the system's packages, one for each file of tests, driven by Playwright."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import unavailable
from tests.support.browser import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

#: Debian's name and Ubuntu's.
NAMES = ("chromium", "chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No name is resolved and nothing beyond this machine is reached, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
)
#: Seconds that a page may take for one step.
STEP = 15


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium with a new user data folder; starting it takes a second or two."""
    binary = next((path for name in NAMES if (path := shutil.which(name))), None)
    if binary is None:
        unavailable("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=Path(str(binary)), headless=True, args=list(FLAGS)
        )
        yield opened
        opened.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A fresh page that fails the test for console errors and for requests that leave this machine."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(STEP * 1000)
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.unexpected == []
