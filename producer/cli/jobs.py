"""`jobs`, `status`: where the work stands."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from core.settings import read_settings
from db import queries
from producer.cli import show
from producer.cli.options import JobArgument, JsonOption, out
from producer.glance import look
from producer.record import open_record


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
        show.jobs_table(found)
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
    if follow:
        from producer.yard import open_desk  # inside: who only looks needs nothing of the broker's

        with open_desk(settings, own_redis=False) as desk:
            show.wait(desk, job)
    with open_record(settings) as database:
        glance = look(database, settings, job)
        progress = glance.progress
        if as_json:
            sys.stdout.write(json.dumps(show.glance_as_dict(glance)) + "\n")
        else:
            show.accounting(database, glance)
    raise typer.Exit(show.exit_code(progress) if progress.status.terminal else 0)
