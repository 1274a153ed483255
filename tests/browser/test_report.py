"""The report in a real browser: from a file, without a network, by mouse, by keyboard, on a phone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
from PIL import Image as Picture

from core.settings import read_settings
from core.types import JobStatus
from db.migrate import migrate
from db.session import open_database
from producer.diff import diff
from producer.report import write_report
from producer.report.versus import write_diff
from tests.support.answers import Image, add_job
from tests.support.browser import grave_faults

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.browser import Watched

HOSTILE = "<img src=x onerror=alert(1)>\"'</script>"
LONG = "a very long name of a picture that somebody has given it " * 3


@dataclass(frozen=True)
class Pages:
    """A report and a diff."""

    report: str
    diff: str


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """64 images of ten labels, 30 with thumbnails, 16 of them not as the truth has it; six failures."""
    folder = tmp_path_factory.mktemp("report")
    images = []
    for n in range(64):
        if n < 30:
            Picture.new("RGB", (120, 80), (4 * n, 90, 200 - 3 * n)).save(folder / f"{n}.png")
        name = LONG + str(n) if n == 7 else str(n)
        if n == 7:
            (folder / "7.png").rename(folder / f"{name}.png")
        scores = {str(n % 10): 1 - n / 200, str((n + 1) % 10): n / 250}
        truth = {"truth": str(n % 10 if n % 4 else (n + 1) % 10)}
        images.append(Image((folder / f"{name}.png").as_uri(), scores, extra=truth))
    images += [Image(f"https://{HOSTILE}/{n}.jpg", code="http_4xx") for n in range(5)]
    images.append(Image("https://h.example/x.jpg", code="timeout_read"))
    database = open_database(f"sqlite:///{folder}/yard.db")
    migrate(database)
    job = add_job(
        database, images, name=HOSTILE + LONG, status=JobStatus.COMPLETED_WITH_ERRORS,
        options={"roots": [str(folder)], "truth_column": "truth"},
    )  # fmt: skip
    other = [Image(i.uri, {"3": 0.9}, code=i.code) for i in images]
    settings = read_settings(home=folder)
    write_report(database, settings, job, folder / "report.html", 200)
    found = diff(database, job, add_job(database, other), 200)
    write_diff(database, settings, found, folder / "diff.html", 20)
    database.close()
    return Pages((folder / "report.html").as_uri(), (folder / "diff.html").as_uri())


@pytest.fixture
def report(watched: Watched, pages: Pages) -> Page:
    watched.page.goto(pages.report)
    watched.page.locator("#found", has_text="of 70 images").wait_for()
    return watched.page


def shown(page: Page) -> str:
    """What the page says of its table, once the filters have settled."""
    page.wait_for_timeout(200)
    return page.locator("#found").inner_text()


def test_pictures_show_and_names_are_only_text(report: Page) -> None:
    report.evaluate("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager' })")
    report.wait_for_function(
        "[...document.images].every((one) => one.complete && one.naturalWidth > 0)"
    )
    assert report.locator("#gallery .frame img").count() == 30
    assert report.locator("h1 bdi").inner_text() == HOSTILE + LONG
    assert report.locator("img[src=x]").count() == 0
    report.locator("#by-status").select_option("http_4xx")
    assert shown(report) == "1 to 5 of 5 images"
    assert HOSTILE in report.locator("#table .path").first.inner_text()


def test_filters_find_what_they_name(report: Page) -> None:
    for locator, value, expected in (
        ("#by-status", "failed", "1 to 6 of 6 images"),
        ("#by-status", "ok", "1 to 50 of 64 images"),
        ("#by-status", "wrong", "1 to 16 of 16 images"),
        ("#by-label", "3", "1 to 7 of 7 images"),
    ):
        report.locator(locator).select_option(value)
        assert shown(report) == expected
        report.get_by_role("button", name="Clear").click()
    report.get_by_role("searchbox").fill("VERY long")
    assert shown(report) == "1 to 1 of 1 images"
    report.get_by_role("searchbox").fill("")
    report.locator("#from-score").fill("90")
    report.locator("#to-score").fill("95")
    assert shown(report) == "1 to 11 of 11 images"
    report.locator("#order").select_option("unsure")
    report.wait_for_timeout(200)
    assert report.locator("#table .answer b").first.inner_text() == "90.0%"
    report.get_by_role("searchbox").fill("nothing is called that")
    assert shown(report) == "No image matches."


def test_keyboard_alone_reaches_the_images_of_a_label(report: Page) -> None:
    report.locator("a[data-label='4']").first.focus()
    report.keyboard.press("Enter")
    assert shown(report) == "1 to 6 of 6 images"
    assert report.url.endswith("#images")
    report.get_by_role("button", name="Clear").focus()
    report.keyboard.press("Space")
    assert shown(report) == "1 to 50 of 70 images"
    report.get_by_role("button", name="Next").focus()
    report.keyboard.press("Enter")
    assert shown(report) == "51 to 70 of 70 images"
    assert report.get_by_role("button", name="Next").is_disabled()


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("report", 1200, "light"),
        ("report", 360, "dark"),
        ("diff", 1200, "dark"),
        ("diff", 360, "light"),
    ],
)
def test_everybody_can_use_it_at_any_width(
    watched: Watched, pages: Pages, name: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(getattr(pages, name))
    page.locator("#found", has_text="images").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert grave_faults(page, scheme) == []


def test_the_diff_filters_its_pairs(watched: Watched, pages: Pages) -> None:
    page = watched.page
    page.goto(pages.diff)
    assert page.locator("#found").inner_text() == "57 of 57 images"
    page.get_by_label("Label in A").select_option("5")
    assert page.locator("#found").inner_text() == "6 of 57 images"
    assert page.locator(".versus > li:visible").count() == 6
    page.get_by_role("searchbox").fill("nowhere")
    assert page.locator("#found").inner_text() == "No image matches."
