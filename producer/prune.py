"""Prune: what is old, and its end, slice by slice. Nothing else ever deletes results."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from core.errors import UsageError
from db.clock import seconds_from_now
from db.prune import OldJob, old_jobs, prune_slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.session import Database

__all__ = ["OldJob", "find_old", "moment_of", "prune"]

_AGE: Final = re.compile(r"(\d{1,6})([hdw])")
_SECONDS: Final = {"h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def moment_of(database: Database, text: str) -> datetime:
    """Return the moment that a date (`2024-05-31`, UTC) or an age (`12h`, `30d`, `8w`) means.

    Raises:
        UsageError: if it is neither.
    """
    if age := _AGE.fullmatch(text):
        seconds = int(age[1]) * _SECONDS[age[2]]
        found = database.read(lambda c: c.execute(select(seconds_from_now(-seconds))).scalar_one())
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"'{text}' is neither a date (2024-05-31) nor an age (12h, 30d, 8w)"
            ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def find_old(database: Database, before: datetime) -> list[OldJob]:
    """Return the jobs that ended before a moment, with what there is to delete."""
    return database.read(old_jobs, before)


def prune(
    database: Database, before: datetime, on_job: Callable[[OldJob], None] = lambda job: None
) -> list[OldJob]:
    """Delete all jobs that ended before a moment, with chunks and results; return them.

    May be interrupted at any time: what is left of a job is deleted by the next prune.
    """
    old = find_old(database, before)
    for job in old:
        while not database.write(prune_slice, job.job_id, before):
            pass
        on_job(job)
    return old
