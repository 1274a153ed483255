"""`jobs`, `status`, `results`: what the tables say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.settings import read_settings
from core.types import ResultStatus
from db import queries
from db.queries import ResultFilter
from producer import export
from producer.cli import show
from producer.cli.options import JobArgument, JsonOption, out
from producer.watch import obstacle
from producer.yard import open_desk, open_record


def list_jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", help="Newest jobs shown.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the newest jobs."""
    with open_record(read_settings()) as database:
        ids = database.read(queries.job_ids, limit)
        found = [database.read(queries.progress, job_id) for job_id in ids]
    if as_json:
        sys.stdout.write(json.dumps([show.as_dict(progress) for progress in found]) + "\n")
    elif found:
        out().print(show.jobs_table(found))
    else:
        out().print("no jobs yet: 'classyard run SOURCE' or 'classyard submit SOURCE' makes one")


def status(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Until the job has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show where a job stands: submitted = ok + failed + cancelled + pending.

    Exit code 3 if the job has ended with failed images.
    """
    settings = read_settings()
    with open_desk(settings, own_redis=False) as desk:
        look = show.follow if follow else show.glance
        progress = look(desk, job)
        if as_json:
            sys.stdout.write(json.dumps(show.as_dict(progress)) + "\n")
        else:
            ended = progress.status.terminal
            show.accounting(desk, progress, "" if ended else obstacle(desk, progress))
    raise typer.Exit(show.exit_code(progress) if progress.status.terminal else 0)


def results(
    job: JobArgument,
    label: Annotated[str | None, typer.Option("--label", help="Only this top-1 label.")] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", min=0, max=1)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed images.")] = False,
    code: Annotated[str | None, typer.Option("--code", help="Only this error code.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Most rows.")] = None,
    kind: Annotated[str, typer.Option("--format", "-f", help="table, csv or jsonl.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a file.")] = None,
) -> None:
    """Print a job's results, also while it runs.

    Examples:
      classyard results 12 --label tench --min-score 0.8

      classyard results 12 --failed --format csv -o failed.csv
    """
    chosen = ResultFilter(
        label=label,
        min_score=min_score,
        status=ResultStatus.FAILED if failed else None,
        code=code,
        limit=limit,
    )
    if kind not in {"table", "csv", "jsonl"}:
        raise typer.BadParameter("table, csv or jsonl", param_hint="--format")
    with open_record(read_settings()) as database:
        database.read(queries.progress, job)  # an unknown job is an error, not an empty table
        if kind == "table" and output is None:
            show.results_table(database, job, chosen)
        else:
            top_k = database.read(queries.top_k, job)
            export.write(database, job, chosen, "csv" if kind == "table" else kind, top_k, output)
