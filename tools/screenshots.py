"""Take the screenshots of the documents anew, from the shipped sample digits: look at them before a commit.

    python tools/screenshots.py            needs Chromium

Every page is shown as it is after a real run in a HOME of its own, in light and in dark.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
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
#: Colours of a stored screenshot: flat pages need no more, and a repository keeps pictures for ever.
COLORS = 256


def main() -> None:
    """Take all of them."""
    INTO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cy-") as folder, _chromium() as browser:
        home = Path(folder)
        _take(browser, _report(home).as_uri(), "report")
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
        env={"PATH": "/usr/bin:/bin", "CLASSYARD_HOME": str(home)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )


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
        image = Image.open(BytesIO(page.screenshot())).convert("RGB")
        image.quantize(COLORS, kmeans=1, dither=Image.Dither.NONE).save(
            INTO / f"{name}{suffix}.png", optimize=True
        )
    page.close()


if __name__ == "__main__":
    main()
