"""What `classyard results` prints fits the terminal, and no column is lost to the others."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from rich.cells import cell_len
from sqlalchemy import text

from core.settings import read_settings
from core.types import ResultStatus
from db.pace import Pace
from db.results import ResultFilter
from producer.answers import uncertain
from producer.cli import show
from producer.cli.oneimage import one_image
from producer.cli.tables import diff_table, elide, results_table, score_table, uncertain_table
from producer.diff import diff
from producer.glance import Glance
from producer.score import score
from tests.support.answers import Image, add_job

if TYPE_CHECKING:
    from db.session import Database
    from producer.submit import Desk

NAME = "a-photograph-with-a-rather-long-name-for-a-file.jpeg"
LABELS = ["European_fire_salamander", *(f"a_class_with_a_long_name_{rank}" for rank in range(5))]
IMAGES = [
    Image(f"file:///photos/{NAME}", {LABELS[0]: 0.8765, LABELS[1]: 0.01, LABELS[2]: 0.005}),
    Image("file:///photos/" + "%E5%9B%BE" * 40 + ".jpg", {LABELS[1]: 1.0, LABELS[2]: 0.0}),
    Image("file:///photos/[red]x", code="timeout_read"),
]

#: Why an image failed, as long as such texts are.
WHY = "OSError: image file is truncated (33 bytes not read)"


def test_numbers_are_whole_and_names_show_both_ends_at_any_width(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = add_job(database, IMAGES, labels=LABELS)
    for columns in (50, 60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        results_table(database, job, ResultFilter())
        heading, *rows = capsys.readouterr().out.splitlines()
        assert heading.split() == ["#", "image", "label", "score", "next", "best"]
        assert all(cell_len(row) <= columns for row in rows)
        assert rows[0].startswith("0  a-photo")
        assert ".jpeg" in rows[0]
        assert "Euro" in rows[0]
        assert " 87.7%" in rows[0] or " 87.6%" in rows[0]
        assert " 100.0%" in rows[1]
        assert "[red]x" in rows[2]
        uncertain_table(uncertain(database, job, ResultFilter(), 5))
        first = capsys.readouterr().out.splitlines()[1]
        assert first.split()[-2:] == ["0.866", "0.62"]


def test_sentences_keep_their_beginning_and_failures_the_room_for_their_reason(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    best = {f"a_label_that_is_long_{n}": 0.25 for n in range(4)}
    images = [Image("file:///a.jpg", best), Image("file:///b.jpg", code="decode_failed")]
    job = add_job(database, images, labels=list(best))
    database.write(lambda c: c.execute(text("UPDATE results SET error = :e"), {"e": WHY}))
    results_table(database, job, ResultFilter())
    assert re.search(r" 25\.0%  a_label_that_is_long_1 .*…$", capsys.readouterr().out, re.MULTILINE)
    results_table(database, job, ResultFilter(status=ResultStatus.FAILED))
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["#", "image", "error", "why"]
    assert row.split() == ["1", "b.jpg", "decode_failed", *WHY.split()]


def test_strangers_words_reach_the_terminal_as_words(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J[red on white]\r\n"
    images = [
        Image(f"file:///photos/{evil}a.jpg", {f"{evil}cat": 0.9, "dog": 0.1}, extra={evil: evil}),
        Image("https://h/%1b%5b2J%0a[bold]b.jpg", code="http_4xx"),
    ]
    job = add_job(database, images, labels=[f"{evil}cat", "dog"])
    one = add_job(database, images[:1], labels=[f"{evil}cat", "dog"])
    database.write(lambda c: c.execute(text("UPDATE jobs SET name = :n, error = :n"), {"n": evil}))
    desk = cast("Desk", SimpleNamespace(database=database, settings=read_settings()))
    for found in (job, one):
        progress = show.glance(desk, found)
        show.ending(desk, progress)
        show.accounting(desk.database, Glance(progress, evil, Pace(0, 0, 0, {})))
        show.jobs_table([progress])
        uncertain_table(uncertain(database, found, ResultFilter(), 5))
    shown = capsys.readouterr().out
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    assert shown.count("[red on white]") >= 10
    assert "[bold]b.jpg" in shown


def test_a_pipe_gets_everything_and_no_colour(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    results_table(database, add_job(database, IMAGES, labels=LABELS), ResultFilter())
    shown = capsys.readouterr().out
    assert NAME in shown
    assert f"{LABELS[1]} 1%, {LABELS[2]} 0%" in shown
    assert "\x1b" not in shown


def test_one_image_in_a_pipe_is_its_bars_and_nothing_is_cut(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    job = add_job(database, [Image(f"file:///{NAME}", {LABELS[0]: 0.75})], labels=LABELS)
    one_image(database, read_settings(), job)
    failed = add_job(database, [Image("file:///[b].jpg", code="http_4xx")])
    one_image(database, read_settings(), failed)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == NAME
    assert lines[1].split()[:1] == ["1"]
    assert LABELS[0] in lines[1]
    assert lines[2:] == ["[b].jpg", "http_4xx: so it is"]


def test_jobs_compared_and_scored_are_told_in_words(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    extra = {"[t]": "1"}
    a = add_job(database, [Image("file:///a.jpg", {"1": 0.75, "2": 0.2}, extra=extra)] * 3)
    b = add_job(database, [Image("file:///a.jpg", {"2": 0.5, "1": 0.4}, extra=extra)] * 2)
    diff_table(diff(database, a, b), 5)
    shown = capsys.readouterr().out
    assert "2 images have labels in both, 0 of them the same: agreement 0.00%" in shown
    assert "only A has 1, only B 0" in shown
    assert ["2", "1", "2"] in [line.split() for line in shown.splitlines()]
    assert ["a.jpg", "1", "75.0%", "2", "50.0%"] in [line.split() for line in shown.splitlines()]
    score_table(score(database, Path("no models"), b, "[t]"), 5)
    shown = capsys.readouterr().out
    assert "against column '[t]' (label)" in shown
    assert "2 images scored: top-1 0.00%, top-3 100.00%, calibration error 0.5000" in shown
    assert ["1", "2", "-", "0.0%"] in [line.split() for line in shown.splitlines()]


@pytest.mark.parametrize(
    ("text", "width", "elided"),
    [
        ("abc", 3, "abc"),
        ("abcdefgh", 5, "ab…gh"),
        ("abcdefgh", 4, "ab…h"),
        ("图图图图", 5, "图…图"),
        ("图图图图", 6, "图…图"),
        ("abc", 1, "…"),
    ],
)
def test_names_are_elided_in_the_middle(text: str, width: int, elided: str) -> None:
    assert elide(text, width) == elided
    assert cell_len(elided) <= width
