"""Take the screenshots of the documents anew, from the shipped sample digits: look at them before a commit.

    python tools/screenshots.py            needs Chromium

Every page is shown as it is after a real run in a HOME of its own, in light or in dark.
"""

from __future__ import annotations

import csv
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
INTO = ROOT / "docs" / "images"
SAMPLES = ROOT / "producer" / "samples" / "digits"
SIZE = {"width": 1120, "height": 1784}
DROPPED = ("digit-3-1588", "digit-1-1288", "digit-8-0508")
#: Seconds that a yard may take to start.
START_SECONDS = 90
#: Colours of a stored screenshot: flat pages need no more, and a repository keeps pictures for ever.
COLORS = 256


def main() -> None:
    """Take all of them."""
    INTO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cy-") as folder, _chromium() as browser:
        home = Path(folder)
        _take(browser, _report(home).as_uri(), "report")
        with _up(home) as said:
            _take_web(browser, said, home)
            _take_flower(browser, said)
    total = sum(path.stat().st_size for path in INTO.glob("*.png"))
    print(f"{INTO}: {total / 1000:.0f} kB in all")


def _report(home: Path) -> Path:
    """Classify the sample digits, whose names tell the truth, and write the report."""
    manifest, page = home / "digits.csv", home / "report.html"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["uri", "digit"])
        for path in sorted(SAMPLES.glob("*.png")):
            writer.writerow([path, path.name.split("-")[1]])
    words = [
        "--model",
        "digits",
        "--top-k",
        "5",
        "--truth-column",
        "digit",
        "--name",
        "Sample digits",
    ]
    _classyard(home, "run", str(manifest), "--root", str(SAMPLES), *words, "--report", str(page))
    return page


def _classyard(home: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "producer", *words],
        env=_environment(home),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "CLASSYARD_HOME": str(home)}


@contextmanager
def _chromium() -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        sys.exit("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield opened
        opened.close()


def _take(browser: Browser, address: str, name: str) -> None:
    page: Page = browser.new_page(viewport=SIZE)
    for scheme, suffix in (("light", ""), ("dark", "-dark")):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(address)
        page.wait_for_load_state("networkidle")
        _save(page, f"{name}{suffix}")
    page.close()


def _save(page: Page, name: str, *, whole: bool = False) -> None:
    image = Image.open(BytesIO(page.screenshot(full_page=whole))).convert("RGB")
    small = image.quantize(COLORS, kmeans=1, dither=Image.Dither.NONE)
    small.save(INTO / f"{name}.png", optimize=True)


@contextmanager
def _up(home: Path) -> Iterator[str]:
    """Keep a yard with its pages running; yield what it printed. The report's job is in it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = str(door.getsockname()[1])
    log = home / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "producer", "up", "--flower"],
            env={**_environment(home), "CLASSYARD_FLOWER_PORT": port},
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ctrl-C stops" not in log.read_text("utf-8") and time.monotonic() < deadline:
            time.sleep(0.2)
        yield log.read_text("utf-8")
    finally:
        up.terminate()
        up.wait()


def _take_web(browser: Browser, said: str, home: Path) -> None:
    """Drop digits and a damaged one; take the page in light, and the report's job in dark."""
    (address,) = _printed(r"^web +(http\S+)", said)
    damaged = home / "scan.png"
    damaged.write_bytes((SAMPLES / "digit-2-0187.png").read_bytes()[:300])
    page = browser.new_page(viewport={"width": 1120, "height": 760})
    page.goto(address)
    page.select_option("#model", "digits")
    page.set_input_files("#picture", [*(SAMPLES / f"{name}.png" for name in DROPPED), damaged])
    page.wait_for_selector("#latest:not([data-live])")
    page.wait_for_function("[...document.images].every((image) => image.naturalWidth)")
    page.wait_for_timeout(1500)  # the list of jobs renews itself
    _save(page, "web", whole=True)
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}jobs/1?order=unsure")
    page.wait_for_load_state("networkidle")
    _save(page, "web-job")
    page.close()


def _take_flower(browser: Browser, said: str) -> None:
    """Take the list of tasks, a row for each chunk."""
    address, user, password = _printed(r"^flower +(\S+) \(user (\S+), password (\S+)\)", said)
    context = browser.new_context(
        viewport={"width": 1120, "height": 560},
        http_credentials={"username": user, "password": password},
    )
    page = context.new_page()
    page.goto(f"{address}/tasks")
    page.locator("#tasks-table tbody tr", has_text="images").first.wait_for()
    _save(page, "flower")
    context.close()


def _printed(pattern: str, said: str) -> tuple[str, ...]:
    found = re.search(pattern, said, re.MULTILINE)
    if found is None:
        sys.exit(f"the yard did not start:\n{said}")
    return found.groups()


if __name__ == "__main__":
    main()
