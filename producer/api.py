"""The Python API: submit, wait, read results. The commands call the very same functions."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from core.errorlimit import parse_error_limit
from core.errors import WaitTimeoutError
from core.modelspec import read_model
from core.prepare import prepare_model
from core.settings import read_settings
from db import queries
from db import results as reads
from db.results import ResultFilter
from producer import steer, yard
from producer.answers import answer, uncertain
from producer.diff import diff
from producer.export import Format, format_of, read_layout, write_rows
from producer.request import job_request, priority_named
from producer.score import score
from producer.sources import open_sources
from producer.submit import submit
from producer.watch import watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from db.queries import Progress
    from producer.answers import ImageResult
    from producer.diff import Diff
    from producer.score import Score
    from producer.submit import Desk, Submission

#: All results.
ALL = ResultFilter()


class JobChoices(TypedDict, total=False):
    """What a submission may choose; each means what the flag of `classyard submit` means."""

    name: str
    key: str
    top_k: int
    priority: Literal["high", "normal", "low"]
    chunk_size: int
    roots: Sequence[str | Path]
    truth_column: str
    reuse: bool
    embeddings: bool
    skip_done: bool
    max_errors: str


class Yard:
    """An open yard, made by `open_yard`. Jobs are named by their ids.

    Every method raises a `ClassyardError`, whose text says what to do, if it cannot do its work;
    an unknown job is a `NoSuchJobError`.
    """

    def __init__(self, desk: Desk, *, prepares: bool) -> None:
        self._desk = desk
        self._database = desk.database
        self._settings = desk.settings
        self._prepares = prepares

    def submit(
        self,
        sources: str | Path | Sequence[str | Path],
        model: str = "mobilenet_v2",
        **choices: Unpack[JobChoices],
    ) -> Submission:
        """Submit folders, globs, manifests, images and URIs as one job."""
        if self._prepares:
            spec = read_model(model, self._settings.models_path)
            prepare_model(spec, self._settings, embeddings=choices.get("embeddings", False))
        named = [sources] if isinstance(sources, str | Path) else sources
        opened = open_sources([str(source) for source in named], limits=self._settings.fetch_limits)
        limit = choices.get("max_errors")
        options: dict[str, Any] = {
            "truth_column": choices.get("truth_column"),
            "reuse": choices.get("reuse") or None,
            "embeddings": choices.get("embeddings") or None,
            "max_errors": None if limit is None else str(parse_error_limit(limit)),
        }
        request = job_request(
            self._settings,
            opened,
            model,
            choices.get("top_k", 5),
            choices.get("roots", ()),
            options,
        ).named(
            choices.get("name"),
            key=choices.get("key"),
            priority=priority_named(choices.get("priority", "normal")),
        )
        size = choices.get("chunk_size", 0) or self._settings.chunk_size
        skip_done = choices.get("skip_done", False)
        return submit(self._desk, opened, request, size, skip_done=skip_done)

    def wait(self, job_id: int, timeout: float | None = None) -> Progress:
        """Wait until a job has ended or is paused; return where it stands.

        Raises:
            WaitTimeoutError: if that took longer than `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for glance in watch(self._desk, job_id):
            last = glance.progress
            if deadline is not None and time.monotonic() > deadline and not last.status.terminal:
                raise WaitTimeoutError(
                    f"job {job_id} is {last.status} after {timeout:g} s: {last.pending} images wait"
                )
        return last

    def progress(self, job_id: int) -> Progress:
        """Return where a job stands."""
        return self._database.read(queries.progress, job_id)

    def jobs(self, limit: int = 20) -> list[Progress]:
        """Return where the newest jobs stand, newest first."""
        return [self.progress(job_id) for job_id in self._database.read(queries.job_ids, limit)]

    def results(self, job_id: int, chosen: ResultFilter = ALL) -> Iterator[ImageResult]:
        """Yield a job's results in order of position, reading a page at a time."""
        self.progress(job_id)
        return map(answer, reads.stream_results(self._database, job_id, chosen))

    def uncertain(
        self, job_id: int, limit: int = 50, chosen: ResultFilter = ALL
    ) -> list[ImageResult]:
        """Return what a person should look at: lowest margin first, then highest entropy."""
        self.progress(job_id)
        return [answer(row) for row in uncertain(self._database, job_id, chosen, limit)]

    def export(self, job_id: int, path: str | Path, chosen: ResultFilter = ALL) -> int:
        """Write a job's results as .csv, .jsonl or .parquet; return the number of rows."""
        self.progress(job_id)
        kind: Format = format_of(Path(path))
        rows = reads.stream_results(self._database, job_id, chosen)
        return write_rows(rows, read_layout(self._database, job_id), kind, Path(path))

    def report(self, job_id: int, path: str | Path, thumbnails: int = 240) -> None:
        """Write a job as one HTML page, with at most so many thumbnails."""
        from producer.report import write_report

        write_report(self._database, self._settings, job_id, Path(path), thumbnails)

    def diff(self, job_a: int, job_b: int) -> Diff:
        """Compare two jobs over the same URIs."""
        return diff(self._database, job_a, job_b)

    def score(self, job_id: int, truth_column: str | None = None) -> Score:
        """Compare a job's labels with the truth in a column of its manifest."""
        return score(self._database, self._settings.models_path, job_id, truth_column)

    def cancel(self, job_id: int) -> None:
        """Cancel a job: nothing of it starts any more; rows stay."""
        steer.cancel(self._database, job_id)

    def retry(self, job_id: int) -> int:
        """Run a job's failed images again; return how many."""
        return steer.retry(self._desk, job_id)


@contextmanager
def open_yard(*, start: bool = False, **settings: Any) -> Iterator[Yard]:
    """Open the yard that the `CLASSYARD_` settings name; keyword arguments win over them.

    With `start`, what is not running (Redis, a worker) is started, and stopped again at the end,
    as `classyard run` does.
    """
    chosen = read_settings(**settings)
    with ExitStack() as stack:
        desk = stack.enter_context(yard.open_desk(chosen, own_redis=start))
        if start:
            stack.enter_context(yard.worker_running(desk))
        yield Yard(desk, prepares=start)
