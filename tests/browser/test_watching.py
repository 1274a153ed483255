"""The watch itself: what a page does wrong is noticed, what it does right is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.browser import grave_faults

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Watched

GOOD = """<!doctype html><html lang="en"><head><title>Good</title>
<link rel="icon" href="data:,"></head><body><main><h1>Good</h1>
<img alt="nothing" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="></main></body></html>"""
BAD = """<!doctype html><html><head><title>Bad</title><link rel="icon" href="data:,"></head><body>
<p style="color: #eee; background: #fff">pale</p><img src="http://pictures.example/a.png">
<img src="b.png"><script>console.error("said"); throw new Error("thrown");</script></body></html>"""


def test_a_good_page_passes(watched: Watched, tmp_path: Path) -> None:
    page = tmp_path / "good.html"
    page.write_text(GOOD, "utf-8")
    watched.page.goto(page.as_uri())
    assert grave_faults(watched.page, "light") == grave_faults(watched.page, "dark") == []
    assert watched.faults == []


def test_a_bad_page_is_noticed(watched: Watched, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(BAD, "utf-8")
    watched.page.goto(page.as_uri())
    said = "\n".join(watched.unexpected)
    for fault in (
        "error: said", "uncaught: thrown", "left the page: http://pictures.example/a.png",
        f"left the page: {page.with_name('b.png').as_uri()}",
    ):  # fmt: skip
        assert fault in said
    found = " ".join(grave_faults(watched.page, "light"))
    for rule in ("color-contrast", "image-alt", "html-has-lang"):
        assert rule in found
    watched.allow("said|thrown|left the page|ERR_")
    assert watched.unexpected == []
