"""The report of a large job: seconds, bytes and memory of `classyard report`, pictures included."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from sqlalchemy import insert

from benchmarks.measure import Figure, conclude, parser, say
from core.settings import read_settings
from core.types import ChunkStatus, JobStatus
from db.migrate import migrate
from db.models import Chunk, Job, Result
from db.session import open_database

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from core.settings import Settings

CHUNK = 512
LABELS = 1000
#: Photographs as cameras make them, each under many names: every thumbnail is decoded anew.
PHOTOS, PHOTO_SIZE = 8, (4000, 3000)
SECONDS, MEGABYTES, MEMORY = 60, 25, 300


def main() -> None:
    """Fill a database with one job, write its report."""
    made = parser(__doc__)
    options = made.parse_args()
    rows = 2_000 if options.quick else 100_000
    with tempfile.TemporaryDirectory(prefix="classyard-bench-") as folder:
        home = Path(folder)
        _take_photos(home / "photos", rows)
        settings = read_settings(home=home, database_url=f"sqlite:///{home}/bench.db")
        database = open_database(settings.database)
        migrate(database)
        job = database.write(_job, rows, home / "photos")
        database.close()
        say(f"filled: a job of {rows:,} rows")
        figures = _measure(settings, job, rows)
    conclude(options, figures)


def _take_photos(folder: Path, names: int) -> None:
    folder.mkdir()
    for number in range(PHOTOS):
        noise = Image.effect_noise((PHOTO_SIZE[0] // 8, PHOTO_SIZE[1] // 8), 40 + number)
        noise.resize(PHOTO_SIZE).convert("RGB").save(folder / f"{number}.jpg", quality=90)
    for at in range(names):
        (folder / f"IMG_{at:07}.jpg").hardlink_to(folder / f"{at % PHOTOS}.jpg")


def _job(connection: Connection, rows: int, folder: Path) -> int:
    begin = datetime(2024, 5, 6, tzinfo=UTC)
    end = begin + timedelta(seconds=rows / 100)
    job = connection.execute(
        insert(Job)
        .values(
            name="benchmark", model="mobilenet_v2", model_fingerprint="f" * 32, queue="classyard",
            priority=5, top_k=5, options={"roots": [str(folder)]}, status=JobStatus.COMPLETED,
            total=rows, chunks=rows // CHUNK, created_at=begin, touched_at=begin, started_at=begin,
            finished_at=end,
        )
        .returning(Job.id)
    ).scalar_one()  # fmt: skip
    dice = random.Random(0)  # noqa: S311
    for start in range(0, rows, CHUNK):
        found = [_row(at, folder, dice) for at in range(start, min(rows, start + CHUNK))]
        failed = sum(row["status"] == "failed" for row in found)
        at = begin + timedelta(seconds=start / 100)
        chunk = connection.execute(
            insert(Chunk)
            .values(
                job_id=job, seq=start // CHUNK, size=len(found), first_position=start,
                digest="d" * 32, status=ChunkStatus.DONE, attempts=1, ok=len(found) - failed,
                failed=failed, worker="host/1:2:3", started_at=at,
                finished_at=at + timedelta(seconds=10), fetch_seconds=1.0, decode_seconds=4.0,
                predict_seconds=5.0, record_seconds=0.1,
            )
            .returning(Chunk.id)
        ).scalar_one()  # fmt: skip
        shared = {"job_id": job, "chunk_id": chunk, "model": "mobilenet_v2", "worker": "host/1:2:3"}
        connection.execute(
            insert(Result), [{**shared, "classified_at": at, **row} for row in found]
        )
    return int(job)


def _row(position: int, folder: Path, dice: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(
        ("class_index", "label", "score", "predictions", "error_code", "error")
    )
    row |= {"position": position, "uri": (folder / f"IMG_{position:07}.jpg").as_uri()}
    if position % 50 == 7:
        failure = {"error_code": "decode_failed", "error": "OSError: image file is truncated"}
        return {**row, "status": "failed", **failure}
    scores = sorted((dice.random() ** 3 for _ in range(5)), reverse=True)
    best = [
        [c, f"label number {c}", s]
        for c, s in zip(dice.sample(range(LABELS), 5), scores, strict=True)
    ]
    first = {"class_index": best[0][0], "label": best[0][1], "score": best[0][2]}
    return {**row, "status": "ok", "predictions": best, **first}


def _measure(settings: Settings, job: int, rows: int) -> list[Figure]:
    """Write the report; return how long it took, how large it is and what its process held."""
    page = settings.home / "report.html"
    started = time.monotonic()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "producer", "report", str(job), "-o", str(page)],
        settings.as_environment(),
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"report ended with {os.waitstatus_to_exitcode(status)}")
    size = page.stat().st_size / 1e6
    pictures = page.read_text("utf-8").count("data:image/jpeg")
    note = f"{pictures} thumbnails of 12-megapixel photographs"
    what = f"report of {rows:,} images"
    return [
        Figure(what, seconds, "s", SECONDS, more_is_better=False, spread="n=1", note=note),
        Figure(f"size of the {what}", size, "MB", MEGABYTES, more_is_better=False, spread="n=1"),
        Figure(
            f"memory of the {what}", usage.ru_maxrss / 1024, "MiB", MEMORY, more_is_better=False,
            spread="n=1", note="without the process that makes the thumbnails",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
