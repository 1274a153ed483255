"""Report: a job as one HTML file that opens anywhere, offline, with nothing beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db import queries
from producer.export.atomic import whole_file
from producer.report.contents import gather
from producer.report.island import Island
from producer.report.page import Written, render

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings
    from db.session import Database

__all__ = ["ROWS", "Written", "write_report"]

#: Rows in the page's table; of more, an even sample.
ROWS: Final = 100_000


def write_report(
    database: Database,
    settings: Settings,
    job_id: int,
    path: Path,
    most_thumbnails: int,
) -> Written:
    """Write a job's report, whole or not at all; also of a job that has not ended.

    Raises:
        NoSuchJobError: if there is no such job.
        ClassyardError: if the file cannot be written.
    """
    done = database.read(queries.progress, job_id).done
    with Island(done, ROWS) as island:
        contents = gather(database, settings, job_id, island, most_thumbnails)
        size = 0
        with whole_file(path) as file:
            for piece in render(
                "report.html",
                "report.js",
                report=contents,
                island=island,
                labels=list(island.labels),
            ):
                size += file.write(piece)
    pictured = contents.pictured
    return Written(island.rows, pictured.thumbnails, dict(pictured.missing), size)
