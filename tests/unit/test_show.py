"""What a person reads of a job, and the exit code a script reads."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import JobStatus
from db.queries import Progress
from producer.cli.show import as_dict, duration, exit_code, identity

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
