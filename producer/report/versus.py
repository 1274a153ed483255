"""Versus: two jobs as one HTML file, the images whose label changed side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import queries
from producer.export.atomic import whole_file
from producer.report.page import Written, render
from producer.report.pictures import SIDE, make_album, picture
from producer.thumbnails import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings
    from db.session import Database
    from producer.diff import Diff


def write_diff(
    database: Database, settings: Settings, found: Diff, path: Path, most_thumbnails: int
) -> Written:
    """Write a comparison of two jobs as a page, whole or not at all.

    Raises:
        NoSuchJobError: if one of the jobs does not exist any more.
        ClassyardError: if the file cannot be written.
    """
    jobs = [database.read(queries.progress, job_id) for job_id in (found.job_a, found.job_b)]
    # Both jobs named these images: what either allows may be read.
    roots = [
        root
        for job in jobs
        for root in database.read(queries.options, job.job_id).get("roots") or ()
    ]
    chosen = found.changes[:most_thumbnails]
    album = make_album(settings, [Wanted(change.uri, roots, SIDE) for change in chosen])
    size = 0
    with whole_file(path) as file:
        for piece in render(
            "diff.html",
            "diff.js",
            found=found,
            jobs=jobs,
            pictures=[(change, picture(change.uri, album)) for change in found.changes],
        ):
            size += file.write(piece)
    return Written(len(found.changes), len(album.thumbnails), dict(album.missing), size)
