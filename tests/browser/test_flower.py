"""Flower in a real browser: a log-in, a worker that is online, a row for each chunk, no URIs."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

STEP = 20_000


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    """`classyard up --flower`, with the stub engine."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    with Yard(read_settings(home=home, engine="stub", concurrency=2, flower_port=port)) as opened:
        running = opened.start("up", "--flower", "--no-web")
        opened.until(lambda: "Ctrl-C stops" in running.log.read_text(), what="up")
        yield opened
        running.stop()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def page(browser: Browser, yard: Yard) -> Iterator[Page]:
    """Flower, logged in with what `up` has printed."""
    said = re.search(
        r"flower +(\S+) \(user (\S+), password (\S+)\)", yard.processes[0].log.read_text()
    )
    assert said is not None
    yard.until(lambda: answers(yard.settings.flower_port), what="Flower")
    context = browser.new_context(http_credentials={"username": said[2], "password": said[3]})
    context.set_default_timeout(STEP)
    opened = context.new_page()
    opened.goto(said[1])
    yield opened
    context.close()


def answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


def test_nobody_gets_in_without_the_password(page: Page, browser: Browser) -> None:
    stranger = browser.new_context(http_credentials={"username": "classyard", "password": "no"})
    for path in ("/", "/tasks", "/workers", "/broker"):
        answer = stranger.request.get(page.url.rstrip("/") + path)
        assert answer.status == 401, path
    stranger.close()


def test_the_worker_is_online_and_each_chunk_is_a_row(page: Page, yard: Yard) -> None:
    good = [f"https://pictures.example/{n}.jpg?signature=SECRET" for n in range(20)]
    job = yard.submit([*good, "stub://fail/http_4xx/1"], "--chunk-size", "7")
    yard.finish(job)
    row = page.locator("#workers-table tbody tr")
    row.first.wait_for()
    assert row.count() == 1
    assert "Online" in row.inner_text()
    base = page.url.split("/workers")[0].rstrip("/")

    def told() -> bool:
        page.goto(f"{base}/tasks")
        page.locator("#tasks-table tbody tr").first.wait_for()
        return page.locator("#tasks-table tbody tr", has_text=f"job {job} chunk").count() == 3

    yard.until(told, 30, "the three chunks")
    shown = page.locator("#tasks-table").inner_text()
    assert f"job {job} chunk 1/3, 7 images, digits" in shown
    assert "classyard.classify" in shown
    assert "celery@" in shown
    assert "SUCCESS" in shown
    assert "SECRET" not in page.content()
    assert "pictures.example" not in page.content()


def test_a_chunk_that_kills_its_child_is_shown_as_a_failure(page: Page, yard: Yard) -> None:
    job = yard.submit(["stub://crash/1"])
    yard.finish(job)
    # Two crashes, two messages: each failed, and none is told of as anything else.
    base = page.url.split("/workers")[0].rstrip("/")
    row = page.locator("#tasks-table tbody tr", has_text=f"job {job} chunk")

    def told() -> bool:
        page.goto(f"{base}/tasks")
        page.locator("#tasks-table tbody tr").first.wait_for()
        return row.count() > 0 and all("FAILURE" in text for text in row.all_inner_texts())

    yard.until(told, 30, "the failures")
    assert "its child process died" in row.first.inner_text()
    row.first.locator("a[href*='/task/']").first.click()
    page.locator(".detail-row", has_text="its child process died").first.wait_for()
