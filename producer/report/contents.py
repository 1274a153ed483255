"""Contents: everything that stands in a job's report, gathered in one pass over its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError
from core.modelspec import read_model
from db import queries, results
from db import report as reads
from producer.report.confusion import Matrix, matrix
from producer.report.judge import Judge
from producer.report.pictures import answered, make_album, wanted
from producer.report.tally import SAMPLE, Tally
from producer.report.timeline import fetch_seconds, timeline, workers
from producer.score import score
from producer.truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from core.settings import Settings
    from db.queries import Progress
    from db.session import Database
    from producer.report.island import Island
    from producer.report.pictures import Picture
    from producer.report.timeline import Slice, WorkerTally
    from producer.score import Score

#: Images of one label in the gallery, at least, if there are so many.
FEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Shelf:
    """The gallery's pictures of one label, an even sample of its images, the surest first."""

    label: str
    count: int
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Pictured:
    """The images shown as pictures; `missing` counts thumbnails that there are not, by reason."""

    shelves: Sequence[Shelf]
    doubtful: Sequence[Picture]
    mistakes: Sequence[Picture]
    missing: Mapping[str, int]
    thumbnails: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A job's report. `truth_note` says why there is no comparison with a truth that was named."""

    progress: Progress
    options: dict[str, Any]
    top_k: int
    tally: Tally
    slices: Sequence[Slice]
    workers: Sequence[tuple[str, WorkerTally]]
    pictured: Pictured
    score: Score | None
    matrix: Matrix | None
    truth_note: str


def gather(
    database: Database, settings: Settings, job_id: int, island: Island, most_thumbnails: int
) -> Contents:
    """Read a job once, put its rows into `island` and the rest into the contents.

    Raises:
        NoSuchJobError: if there is no such job.
    """
    options = database.read(queries.options, job_id)
    judge, found, note = _truth(database, settings.models_path, job_id, options)
    chunks = database.read(reads.finished_chunks, job_id)
    tally = Tally(fetch_seconds(chunks), judge)
    for row in results.stream_results(database, job_id):
        tally.add(row)
        island.add(row, judge.expected(row) if judge else None)
    progress = database.read(queries.progress, job_id)
    return Contents(
        progress=progress,
        options=options,
        top_k=database.read(queries.top_k, job_id),
        tally=tally,
        slices=timeline(chunks),
        workers=workers(chunks),
        pictured=_pictured(database, settings, job_id, tally, most_thumbnails),
        score=found,
        matrix=matrix(found) if found else None,
        truth_note=note,
    )


def _pictured(
    database: Database, settings: Settings, job_id: int, tally: Tally, most: int
) -> Pictured:
    """Fetch the rows of the images to be shown and make their thumbnails, `most` at most."""
    shelves = _shelves(tally, most)
    chosen = _chosen(tally, shelves)
    if len(chosen) > most:
        shelves = _shelves(tally, 2 * most - len(chosen))
        chosen = _chosen(tally, shelves)
    rows = database.read(reads.rows_at, job_id, chosen)
    roots = database.read(queries.options, job_id).get("roots") or ()
    album = make_album(settings, [wanted(rows[at], roots) for at in chosen[:most] if at in rows])

    def shown(positions: Iterable[int]) -> list[Picture]:
        # A retry may have changed a row since it was counted.
        there = [rows[at] for at in positions if at in rows and rows[at].predictions]
        judge = tally.judge
        return [answered(row, album, judge.expected(row) if judge else None) for row in there]

    def surest_first(positions: Iterable[int]) -> list[Picture]:
        return sorted(shown(positions), key=lambda one: -one.bars[0].score)

    return Pictured(
        shelves=[Shelf(name, tally.labels[name].count, surest_first(at)) for name, at in shelves],
        doubtful=shown(tally.doubtful),
        mistakes=shown(tally.mistakes),
        missing=album.missing,
        thumbnails=len(album.thumbnails),
    )


def _chosen(tally: Tally, shelves: Sequence[tuple[str, list[int]]]) -> list[int]:
    """Return the positions of all pictures, each once, the most telling first."""
    galleries = [at for _, positions in shelves for at in positions]
    return list(dict.fromkeys([*tally.mistakes, *tally.doubtful, *galleries]))


def _shelves(tally: Tally, most: int) -> list[tuple[str, list[int]]]:
    """Return the labels of the gallery and the positions of their images, `most` in all at most.

    Frequent labels come first; of fewer labels more images are shown.
    """
    left = most
    each = min(SAMPLE, max(FEWEST, most // max(1, len(tally.labels))))
    shelves = []
    for name, label in tally.most_frequent:
        if left <= 0:
            break
        chosen = label.sample[: min(each, left)]
        left -= len(chosen)
        shelves.append((name, chosen))
    return shelves


def _truth(
    database: Database, models_path: Path, job_id: int, options: dict[str, Any]
) -> tuple[Judge | None, Score | None, str]:
    """Return what compares rows with the truth, the score, and why there is neither."""
    column = options.get("truth_column")
    if not column:
        return None, None, ""
    try:
        found = score(database, models_path, job_id, column)
        spec = read_model(found.model, models_path)
        return Judge(read_truth(database, job_id, column, spec), spec.labels), found, ""
    except ClassyardError as error:
        return None, None, str(error)
