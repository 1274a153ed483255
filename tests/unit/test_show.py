"""What a person reads of a job, and the exit code a script reads."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from core.types import JobStatus, Prediction
from db.queries import Progress
from producer.cli.oneimage import bars, draws
from producer.cli.show import as_dict, exit_code, identity, jobs_table
from producer.words import duration

PLAIN = {"int": 0, "float": 0.0, "str": "x", "str | None": None, "datetime | None": None}


def progress(**values: Any) -> Progress:
    """Return a progress of zeros, but for what is given."""
    blank = {field.name: PLAIN.get(str(field.type)) for field in fields(Progress)}
    blank |= {"status": JobStatus.RUNNING, "created_at": datetime(2026, 1, 2, tzinfo=UTC)}
    return Progress(**{**blank, **values})


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"), (0.26, "0.3 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (60, "1 min 00 s"),
        (61.4, "1 min 01 s"), (3599.6, "1 h 00 min"), (3600, "1 h 00 min"), (90061, "25 h 01 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@given(st.floats(0, 10**7))
def test_no_duration_shows_sixty(seconds: float) -> None:
    assert not re.search(r"\b60(\.0)? (s|min)", duration(seconds))


def test_the_accounting_line() -> None:
    shown = identity(progress(total=12345, ok=12000, failed=300, cancelled=40, pending=5))
    assert shown == "12,345 submitted = 12,000 ok + 300 failed + 40 cancelled + 5 pending"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (JobStatus.COMPLETED, 0), (JobStatus.COMPLETED_WITH_ERRORS, 3), (JobStatus.CANCELLED, 1),
        (JobStatus.FAILED, 1), (JobStatus.PAUSED, 1),
    ],
)  # fmt: skip
def test_exit_codes(status: JobStatus, code: int) -> None:
    assert exit_code(progress(status=status)) == code


def test_programs_get_json() -> None:
    told = json.loads(json.dumps(as_dict(progress(ok=30, failed=10, elapsed=8.0))))
    assert (told["rate"], told["done"], told["status"]) == (5.0, 40, "running")
    assert told["created_at"] == "2026-01-02T00:00:00+00:00"
    assert told["finished_at"] is None


@pytest.mark.parametrize("room", [44, 60, 80, 200])
def test_bars_fit_and_keep_their_order(room: int) -> None:
    long = "a label that nobody would call short, " * 3
    found = [
        Prediction(1, long, 0.987),
        Prediction(2, "图" * 40, 0.01),
        Prediction(3, "[b]\x1b[2J", 0.0),
    ]
    lines = bars(found, room)
    assert all(line.cell_len <= room for line in lines)
    assert [line.plain[:5] for line in lines] == ["  1  ", "  2  ", "  3  "]
    assert "98.70%" in lines[0].plain
    assert lines[0].plain.count("█") >= 9
    assert "█" not in lines[2].plain
    assert "[b]" in lines[2].plain
    assert "\x1b" not in lines[2].plain


@pytest.mark.parametrize(
    ("colours", "plain", "tty", "room", "expected"),
    [
        ("truecolor", False, True, 80, True),
        ("256", False, True, 80, True),
        ("standard", False, True, 80, False),
        ("truecolor", True, True, 80, False),
        ("truecolor", False, False, 80, False),
        ("truecolor", False, True, 70, False),
    ],
)
def test_a_picture_is_drawn_only_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, colours: Any, plain: bool, tty: bool, room: int, expected: bool
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    console = Console(force_terminal=tty, color_system=colours, no_color=plain)
    assert draws(console, room) is expected


def test_jobs_fit_the_terminal_and_lose_nothing_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a long name [red]of a job, " * 5 + "its end"
    found = [progress(job_id=7, total=1_234_567, name=name, model="mobilenet_v2")]
    monkeypatch.setenv("COLUMNS", "80")
    jobs_table(found)
    shown = capsys.readouterr().out
    assert all(cell_len(line) <= 80 for line in shown.splitlines())
    assert "1,234,567" in shown
    assert "running" in shown
    assert "…" in shown
    monkeypatch.delenv("COLUMNS")
    jobs_table(found)
    assert name in capsys.readouterr().out
