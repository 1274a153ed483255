"""The web page in a real browser: pictures dropped on it go through Redis and a worker and come back."""

from __future__ import annotations

import base64
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
from sqlalchemy import text

from core.settings import read_settings
from producer.cli.local import SAMPLES
from tests.conftest import SHARED
from tests.support.browser import grave_faults
from tests.support.yard import Yard, furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import FileChooser, Page

    from tests.support.browser import Watched

#: Where two networks have to be converted first.
pytestmark = pytest.mark.timeout(300)

THREE, SEVEN = SAMPLES / "digit-3-1588.png", SAMPLES / "digit-7-0932.png"
#: Drops a file on the page as a mouse would.
DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const dragged = new DataTransfer();
    dragged.items.add(new File([bytes], name));
    for (const kind of ["dragover", "drop"])
        document.body.dispatchEvent(
            new DragEvent(kind, { dataTransfer: dragged, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def yard(request: pytest.FixtureRequest, converted: Path) -> Iterator[Yard]:
    """`classyard up`, as anybody starts it; with MobileNetV2 where its weights are."""
    models = request.getfixturevalue("photo_models") if SHARED.is_dir() else None
    home = Path(tempfile.mkdtemp(prefix="cy-"))
    furnish(home, converted)
    with Yard(read_settings(home=home, models_dir=models, concurrency=1)) as opened:
        opened.start("up")
        opened.until(lambda: "Ctrl-C stops" in log(opened), what="up")
        yield opened
        opened.processes[0].stop()
    shutil.rmtree(home, ignore_errors=True)


def log(yard: Yard) -> str:
    return yard.processes[0].log.read_text()


@pytest.fixture
def page(watched: Watched, yard: Yard) -> Page:
    """The page that `up` has printed the address of, opened."""
    address = re.search(r"^web +(http://127\.0\.0\.1:\d+/)$", log(yard), re.MULTILINE)
    assert address is not None, log(yard)
    watched.page.goto(address[1])
    watched.page.evaluate("document.querySelector('#latest')?.remove()")
    return watched.page


def finished(page: Page) -> None:
    page.wait_for_selector("#latest:not([data-live])")


def bars(page: Page, card: int) -> list[str]:
    return page.locator(".card").nth(card).locator(".bars .label").all_inner_texts()


def test_a_digit_gets_its_label_and_a_broken_picture_its_error(
    page: Page, yard: Yard, tmp_path: Path
) -> None:
    broken, note = tmp_path / "broken.png", tmp_path / "note.png"
    broken.write_bytes(THREE.read_bytes()[:300])
    note.write_text("no picture at all")
    page.select_option("#model", "digits")
    page.set_input_files("#picture", [THREE, broken, note])
    finished(page)
    seen = page.evaluate("Date.now()") / 1000
    assert bars(page, 0)[0] == "3"
    assert len(bars(page, 0)) == 10
    shown = "document.querySelector('.card img').naturalWidth > 0"
    page.wait_for_function(shown)
    assert "The picture is damaged." in page.locator(".card").nth(1).inner_text()
    assert "decode_failed" in page.locator(".card").nth(1).inner_text()
    refused = page.locator(".refused").inner_text()
    assert "note.png" in refused
    assert "This is not a picture." in refused
    # The promise is a second; the rest is for a machine that runs other tests meanwhile.
    ended = yard.sql("SELECT max(classified_at) AS at FROM results")[0].at
    at = yard.sql("SELECT (julianday(:at) - 2440587.5) * 86400.0 AS s", at=ended)[0].s
    assert seen - at < 3
    assert "picture" in page.locator("#said").inner_text()
    (priority,) = yard.sql("SELECT priority FROM jobs ORDER BY id DESC LIMIT 1")[0]
    assert priority == 0


@pytest.mark.shared
def test_a_photograph_that_is_dropped_gets_its_label(page: Page, shared: Path) -> None:
    photo = next((shared / "images" / "imagenet-200").glob("*king_penguin*"))
    page.select_option("#model", "mobilenet_v2")
    page.evaluate(DROP, [photo.name, base64.b64encode(photo.read_bytes()).decode()])
    finished(page)
    assert bars(page, 0)[0] == "king_penguin"


def chooser_by_key(page: Page) -> FileChooser:
    """Press Enter until Chromium asks for files: on a busy machine it now and then passes over one."""
    asked: list[FileChooser] = []

    def ask(chooser: FileChooser) -> None:
        asked.append(chooser)

    page.on("filechooser", ask)  # which takes no builtin, such as asked.append
    for _ in range(4):
        page.keyboard.press("Enter")
        for _ in range(50):
            if asked:
                return asked[0]
            page.wait_for_timeout(100)
    raise AssertionError("Enter opens no file chooser")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.select_option("#model", "digits")
    page.locator("#model").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "picture"
    ring = "getComputedStyle(document.querySelector('label.button')).outlineStyle"
    assert page.evaluate(ring) == "solid", "the focus is to be seen"
    chooser_by_key(page).set_files([THREE, SEVEN])
    finished(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector(".results > li")
    for _ in range(12):
        if page.evaluate("document.activeElement.id") == "label":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    page.wait_for_url("**label=7*")
    assert page.locator(".results > li").count() == 1
    assert page.locator(".results h3").inner_text() == "1 digit-7-0932.png"


def test_progress_moves_by_itself_and_says_what_is_in_the_way(page: Page, yard: Yard) -> None:
    uris = "\n".join(f"file:///nowhere/{n}.png" for n in range(40))
    done = yard.command(
        "submit", "-", "-m", "digits", "--chunk-size", "10", stdin=uris, CLASSYARD_QUEUE="nobody"
    )
    job = int(done.out)
    page.wait_for_selector(f"#job-{job}")

    bar = page.locator(f"#job-{job} [role=progressbar]")
    assert bar.get_attribute("aria-valuenow") == "0"
    assert "no worker serves queue 'nobody'" in page.locator(f"#job-{job}").inner_text()
    end = text(
        "UPDATE chunks SET status = 'done', ok = :ok, failed = 10 - :ok WHERE job_id = :id AND seq = 0"
    )
    yard.desk.database.write(lambda c: c.execute(end, {"id": job, "ok": 8}))
    page.wait_for_selector(f"#job-{job} [aria-valuenow='25']")
    assert "10 of 40, 2 failed" in page.locator(f"#job-{job} .sum").inner_text()
    assert yard.command("cancel", str(job)).code == 0
    page.wait_for_selector(f"#job-{job} .chip.cancelled")


def test_no_grave_fault_in_light_and_dark_nor_on_a_phone(watched: Watched, page: Page) -> None:
    page.select_option("#model", "digits")
    page.set_input_files("#picture", [THREE, Path(__file__)])
    finished(page)
    job = page.get_attribute("#latest-head a", "href")
    watched.allow("status of 404")
    for place in (None, job, "/jobs/999999"):
        if place:
            page.goto(urljoin(page.url, place))
        for scheme in ("light", "dark"):
            assert grave_faults(page, scheme) == [], place
        page.set_viewport_size({"width": 360, "height": 740})
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) == 0, "nothing to scroll sideways"
        page.set_viewport_size({"width": 1200, "height": 900})


def test_a_foreign_page_can_neither_submit_nor_show_a_picture(
    watched: Watched, page: Page, yard: Yard, tmp_path: Path
) -> None:
    home = page.url
    before = yard.sql("SELECT count(*) FROM jobs")[0][0]
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        f'<!doctype html><title>x</title><link rel="icon" href="data:,">'
        f'<form action="{home}classify" method="post" enctype="multipart/form-data">'
        f'<input name="model" value="digits"><button>Go</button></form>'
        f'<img id="stolen" src="{home}static/icon.svg">'
    )
    watched.allow("ERR_BLOCKED_BY_RESPONSE|status of 403")
    page.goto(foreign.as_uri())
    page.wait_for_load_state("load")
    assert page.evaluate("document.getElementById('stolen').naturalWidth") == 0
    page.click("button")
    page.wait_for_url("**/classify")
    assert "from elsewhere" in page.content()
    time.sleep(0.2)
    assert yard.sql("SELECT count(*) FROM jobs")[0][0] == before
