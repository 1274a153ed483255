"""`prune`: old jobs go, with their results."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import StoppedError, UsageError
from core.settings import read_settings
from producer.cli import tables
from producer.cli.options import JsonOption, interactive, out
from producer.prune import find_old, moment_of
from producer.prune import prune as delete_old
from producer.record import open_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.prune import OldJob


def prune(
    before: Annotated[
        str, typer.Option("--before", metavar="DATE|AGE", help="2024-05-31 (UTC), 12h, 30d or 8w.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete jobs that ended before a date, with their results. Nothing else ever does.

    May be interrupted: the next prune goes on.
    """
    with open_record(read_settings()) as database:
        moment = moment_of(database, before)
        old = find_old(database, moment)
        if not as_json:
            _say_old(old, before)
        if old and not dry_run:
            _confirm(yes, len(old))
            try:
                old = delete_old(database, moment)
            except KeyboardInterrupt:
                raise StoppedError(
                    "interrupted; the same prune again deletes what is left"
                ) from None
    if as_json:
        jobs = [
            {**dataclasses.asdict(job), "finished_at": job.finished_at.isoformat()} for job in old
        ]
        sys.stdout.write(
            json.dumps({"before": moment.isoformat(), "deleted": not dry_run, "jobs": jobs}) + "\n"
        )
    elif old and not dry_run:
        out().print(f"{len(old):,} jobs deleted")


def _say_old(old: Sequence[OldJob], before: str) -> None:
    if not old:
        out().print(f"no job ended before {before}")
        return
    columns = [
        tables.Column("job"), tables.Column("ended"), tables.Column("results"),
        tables.Column("chunks"), tables.Column("status", 1), tables.Column("name", 2),
    ]  # fmt: skip
    cells = [
        (
            str(job.job_id), f"{job.finished_at:%Y-%m-%d %H:%M}", f"{job.results:,}",
            f"{job.chunks:,}", job.status.value, job.name,
        )
        for job in old
    ]  # fmt: skip
    tables.print_table(columns, cells)


def _confirm(yes: bool, number: int) -> None:
    if yes:
        return
    if not (interactive() and sys.stdin.isatty()):
        raise UsageError("nobody is here to ask: say --yes to delete, or --dry-run")
    if not typer.confirm(f"delete {number:,} jobs and all their results?"):
        raise typer.Exit(1)
