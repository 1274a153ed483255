"""`report`: a job as a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.settings import read_settings
from producer.cli.options import JobArgument, JsonOption
from producer.cli.pages import THUMBNAILS, ThumbnailsOption, write_page
from producer.record import open_record

if TYPE_CHECKING:
    from core.settings import Settings
    from db.session import Database


def report(
    job: JobArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: report-JOB.html."),
    ] = None,
    thumbnails: ThumbnailsOption = THUMBNAILS,
    as_json: JsonOption = False,
) -> None:
    """Write a job as one HTML page: labels, scores, pictures, failures, all images.

    The page opens anywhere, without a network and without anything beside it.

    Examples:
      classyard report 12

      classyard report 12 -o fish.html --thumbnails 500
    """
    settings = read_settings()
    path = output or Path(f"report-{job}.html")
    with open_record(settings) as database:
        write_report_page(database, settings, job, path, thumbnails, as_json=as_json)


def write_report_page(
    database: Database,
    settings: Settings,
    job: int,
    path: Path,
    thumbnails: int = THUMBNAILS,
    *,
    as_json: bool = False,
) -> None:
    """Write a job's report and say what is in it."""
    from producer.report import write_report

    write_page(
        path, lambda: write_report(database, settings, job, path, thumbnails), as_json=as_json
    )
