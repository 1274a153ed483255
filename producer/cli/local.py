"""`demo`, `run`: one job, and the yard for as long as it takes."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import StoppedError
from core.modelspec import read_model
from core.prepare import prepare_model
from core.settings import read_settings
from producer.cli import show
from producer.cli.desk import choices, submit_with_progress
from producer.cli.options import (
    ChunkSizeOption,
    ConcurrencyOption,
    EmbeddingsOption,
    JsonOption,
    MaxErrorsOption,
    ModelOption,
    NameOption,
    ReuseOption,
    RootOption,
    SourceArgument,
    TruthOption,
    err,
    interactive,
)
from producer.cli.pages import ReportOption, check_page
from producer.cli.report import write_report_page
from producer.record import open_record
from producer.request import job_request
from producer.sources import open_sources
from producer.yard import open_desk, supervise, worker_running

if TYPE_CHECKING:
    from core.settings import Settings
    from db.jobs import JobRequest
    from producer.sources import Sources

SAMPLES = Path(__file__).parent.parent / "samples" / "digits"


def demo(report: ReportOption = None, as_json: JsonOption = False) -> None:
    """Classify the shipped sample digits: offline, in seconds, with everything real."""
    settings = read_settings()
    check_page(report)
    sources = open_sources([str(SAMPLES)])
    _prepare(settings, "digits")
    request = job_request(settings, sources, "digits", 3, ()).named("demo", key=None)
    _run(settings, sources, request, None, report, as_json=as_json)


def run(
    source: SourceArgument,
    model: ModelOption = "mobilenet_v2",
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            "-k",
            help="Labels kept per image; default 5, of a single image 10.",
            min=1,
            max=1000,
        ),
    ] = None,
    name: NameOption = None,
    chunk_size: ChunkSizeOption = None,
    concurrency: ConcurrencyOption = None,
    root: RootOption = None,
    truth_column: TruthOption = None,
    reuse: ReuseOption = False,
    embeddings: EmbeddingsOption = False,
    max_errors: MaxErrorsOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify images now: starts what is not running, and stops what it started.

    Exit code 0 if all images got labels, 3 if some failed.

    Examples:
      classyard run ~/Pictures --model mobilenet_v2 --top-k 10

      classyard run photo.jpg

      classyard run ~/Pictures --report pictures.html
    """
    settings = read_settings(concurrency=concurrency)
    check_page(report)
    sources = open_sources(source, stdin=sys.stdin.buffer, limits=settings.fetch_limits)
    _prepare(settings, model, embeddings=embeddings)
    options = {
        "truth_column": truth_column,
        **choices(reuse=reuse, max_errors=max_errors, embeddings=embeddings),
    }
    kept = top_k or (10 if sources.one_image else 5)
    request = job_request(settings, sources, model, kept, root or (), options)
    request = request.named(name, key=None)
    _run(settings, sources, request, chunk_size, report, as_json=as_json)


def _prepare(settings: Settings, model: str, *, embeddings: bool = False) -> None:
    """Make sure the model can be served here, before anything is enqueued."""
    spec = read_model(model, settings.models_path)
    if interactive():
        with err().status(f"preparing model {model}"):
            prepare_model(spec, settings, embeddings=embeddings)
    else:
        prepare_model(spec, settings, embeddings=embeddings)


def _run(
    settings: Settings,
    sources: Sources,
    request: JobRequest,
    chunk_size: int | None,
    page: Path | None,
    *,
    as_json: bool,
) -> None:
    end_in_good_order()
    job_id = None
    try:
        with open_desk(settings) as desk, worker_running(desk) as worker:
            job_id = submit_with_progress(desk, sources, request, chunk_size).job_id
            tick = partial(supervise, worker) if worker else lambda: ""
            progress = show.follow(desk, job_id, tick)
            show.ending(desk, progress, as_json=as_json)
    except KeyboardInterrupt:
        if job_id is None:
            raise StoppedError("interrupted; nothing was submitted") from None
        raise StoppedError(
            f"interrupted; job {job_id} is kept: 'classyard up' goes on with it"
        ) from None
    if page is not None:
        with open_record(settings) as database:
            write_report_page(database, settings, job_id, page)
    raise typer.Exit(show.exit_code(progress))


def end_in_good_order() -> None:
    """Let SIGTERM be to us what Ctrl-C is: what was started is stopped, and said."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
