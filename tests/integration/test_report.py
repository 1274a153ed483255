"""Reports on both databases: what stands in the page, and what never does."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image as Picture

from core.errors import ClassyardError, NoSuchJobError
from core.settings import Settings, read_settings
from core.types import JobStatus
from producer.diff import diff
from producer.report import write_report
from producer.report.versus import write_diff
from tests.support.answers import Image, add_job

if TYPE_CHECKING:
    from db.session import Database

HOSTILE = "<script>alert(1)</script>\"'&\u2028\u202e"


@pytest.fixture
def settings(home: Path) -> Settings:
    return read_settings(home=home)


def table(page: str) -> tuple[list[str], list[Any]]:
    """The labels and rows that the page's script will read."""
    names = re.search(r'<script type="application/json" id="names">(.*?)</script>', page)
    rows = re.search(r'<script type="application/octet-stream" id="rows">(.*?)</script>', page)
    assert names is not None
    assert rows is not None
    lines = gzip.decompress(base64.b64decode(rows[1])).decode().split("\n")
    return json.loads(names[1]), [json.loads(line) for line in lines if line]


def text_of(page: str) -> str:
    """The words that a person reads, without the tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_report_tells_it_all_and_nothing_secret(
    database: Database, settings: Settings, home: Path
) -> None:
    photos = home / "photos"
    photos.mkdir()
    Picture.new("RGB", (300, 200), "teal").save(photos / "1.png")
    images = [
        Image((photos / "1.png").as_uri(), {"1": 0.9, "7": 0.05}, extra={"truth": "1"}),
        Image("file:///elsewhere/2.png", {"7": 0.5, "1": 0.45}, extra={"truth": "1"}),
        Image(f"https://h.example/{HOSTILE}.jpg?sig=SECRET", code="http_4xx"),
        Image("https://h.example/b.jpg?sig=SECRET", code="timeout_read"),
    ]
    options = {"roots": [str(photos)], "truth_column": "truth"}
    job = add_job(
        database, images, name=HOSTILE, options=options, status=JobStatus.COMPLETED_WITH_ERRORS
    )
    path = home / "report.html"
    written = write_report(database, settings, job, path, 240)
    page = path.read_text("utf-8")
    assert (written.rows, written.thumbnails, written.bytes) == (4, 1, path.stat().st_size)
    assert "SECRET" not in page
    assert "<script>alert" not in page
    assert page.count("<script") == 4 - 1  # names, rows, the program
    said = text_of(page)
    for words in (
        "submitted 4 ok = 2 failed + 2 cancelled + 0 pending + 0",
        f"classyard retry {job} --code http_4xx",
        "Time may have cured it: classyard retry",
        "2 images compared with the column truth",
        "top-1 50.0%",
        "truth: 1",
        "margin 0.050",
        "h.example 2 100.0%",
    ):
        assert words in said, words
    assert page.count("data:image/jpeg;base64,") >= 1
    assert "path_forbidden" in said  # the second picture is outside of what the job allows
    names, rows = table(page)
    assert [record[0] for record in rows] == [0, 1, 2, 3]
    assert rows[1][3:] == [[names.index("7"), 5000, names.index("1"), 4500], names.index("1")]
    assert rows[2][3:] == ["http_4xx", "so it is"]


def test_a_report_of_nothing_yet_and_of_no_job(
    database: Database, settings: Settings, home: Path
) -> None:
    job = add_job(database, [], status=JobStatus.RUNNING, finished_at=None)
    path = home / "report.html"
    write_report(database, settings, job, path, 240)
    page = path.read_text("utf-8")
    assert "No results yet" in page
    assert table(page) == ([], [])
    with pytest.raises(NoSuchJobError):
        write_report(database, settings, 99, home / "none.html", 240)
    assert not (home / "none.html").exists()
    with pytest.raises(ClassyardError, match="there is no folder"):
        write_report(database, settings, job, home / "no" / "report.html", 240)


def test_a_truth_that_cannot_be_read_is_said(
    database: Database, settings: Settings, home: Path
) -> None:
    images = [Image("file:///1.png", {"1": 0.9}, extra={"truth": "a fish"})]
    job = add_job(database, images, options={"truth_column": "truth"})
    write_report(database, settings, job, home / "report.html", 0)
    said = text_of((home / "report.html").read_text("utf-8"))
    assert "Not compared: the column 'truth' does not name classes of digits" in said


def test_a_diff_shows_both_sides(database: Database, settings: Settings, home: Path) -> None:
    before = [Image(f"file:///{n}.png", {"1": 0.9}) for n in range(4)]
    after = [Image(f"file:///{n}.png", {"1" if n else HOSTILE: 0.7}) for n in range(4)]
    a = add_job(database, before)
    b = add_job(database, after, labels=["1", HOSTILE], name=HOSTILE)
    path = home / "diff.html"
    written = write_diff(database, settings, diff(database, a, b), path, 240)
    page = path.read_text("utf-8")
    assert (written.rows, written.missing) == (1, {"path_forbidden": 1})
    assert "<script>alert" not in page
    said = text_of(page)
    assert "75.0% agreement" in said
    assert "All 1 images whose label changed" in said
    same = write_diff(database, settings, diff(database, a, add_job(database, before)), path, 0)
    assert same.rows == 0
    assert "No label changed" in text_of(path.read_text("utf-8"))
