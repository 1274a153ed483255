"""`cancel`, `pause`, `resume`, `retry`: a job under way."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from core.settings import read_settings
from producer import steer
from producer.cli import show
from producer.cli.options import JobArgument, JsonOption, out
from producer.record import open_record


def cancel(job: JobArgument, as_json: JsonOption = False) -> None:
    """Cancel a job: nothing of it starts any more, running chunks finish, rows stay."""
    with open_record(read_settings()) as database:
        steer.cancel(database, job)
    _say(as_json, f"job {job} is cancelled", job_id=job, status="cancelled")


def pause(job: JobArgument, as_json: JsonOption = False) -> None:
    """Pause a job: nothing of it starts until 'resume', running chunks finish."""
    with open_record(read_settings()) as database:
        steer.pause(database, job)
    _say(as_json, f"job {job} is paused", job_id=job, status="paused")


def resume(job: JobArgument, as_json: JsonOption = False) -> None:
    """Let a paused job go on."""
    from producer.yard import open_desk  # inside: 'cancel' needs nothing of the broker's

    with open_desk(read_settings(), own_redis=False) as desk:
        steer.resume(desk, job)
        status = show.glance(desk, job).status
    _say(as_json, f"job {job} is {status}", job_id=job, status=status.value)


def retry(
    job: JobArgument,
    code: Annotated[
        list[str] | None,
        typer.Option("--code", help="Only images that failed with this code; may be repeated."),
    ] = None,
    transient: Annotated[
        bool, typer.Option("--transient", help="Only failures that time may have cured.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a job's failed images again, within the job; images with labels are left alone.

    Examples:
      classyard retry 12 --transient --wait

      classyard retry 12 --code http_5xx --code timeout_read
    """
    from producer.yard import open_desk

    codes = steer.chosen_codes(code or (), transient=transient)
    with open_desk(read_settings(), own_redis=False) as desk:
        images = steer.retry(desk, job, codes)
        if wait and images:
            progress = show.wait(desk, job)
            show.ending(desk, progress, as_json=as_json)
            raise typer.Exit(show.exit_code(progress))
    text = f"job {job}: {images:,} images run again" if images else f"job {job}: nothing to retry"
    _say(as_json, text, job_id=job, retrying=images)


def _say(as_json: bool, text: str, **record: object) -> None:
    if as_json:
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        out().print(text)
