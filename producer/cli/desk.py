"""`submit`: images into the queue."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errorlimit import parse_error_limit
from core.errors import StoppedError
from core.settings import read_settings
from core.types import printable
from producer.cli import show
from producer.cli.options import (
    ChunkSizeOption,
    EmbeddingsOption,
    JsonOption,
    MaxErrorsOption,
    ModelOption,
    NameOption,
    ReuseOption,
    RootOption,
    SourceArgument,
    TopKOption,
    TruthOption,
    err,
    out,
)
from producer.preflight import preflight
from producer.record import open_record
from producer.request import job_request, priority_named
from producer.sources import open_sources
from producer.submit import Submission
from producer.submit import submit as submit_job
from producer.undone import Undone
from producer.webhook import check_webhook
from producer.yard import open_desk

if TYPE_CHECKING:
    from db.jobs import JobRequest
    from producer.sources import Sources
    from producer.submit import Desk


def submit(
    source: SourceArgument,
    model: ModelOption = "mobilenet_v2",
    name: NameOption = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="Submit once: the same key gives the same job.", max=200),
    ] = None,
    top_k: TopKOption = 5,
    priority: Annotated[
        str, typer.Option("--priority", help="high, normal or low.", metavar="LEVEL")
    ] = "normal",
    queue: Annotated[
        str | None, typer.Option("--queue", "-q", help="Queue whose workers are to do it.")
    ] = None,
    chunk_size: ChunkSizeOption = None,
    root: RootOption = None,
    truth_column: TruthOption = None,
    reuse: ReuseOption = False,
    embeddings: EmbeddingsOption = False,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Leave out URIs that have labels by this model.")
    ] = False,
    max_errors: MaxErrorsOption = None,
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Where to say that the job has ended."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at up to 100 images; submit nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit images as one job and print its id.

    Needs a running yard: 'classyard up', or CLASSYARD_BROKER_URL and CLASSYARD_DATABASE_URL.

    Examples:
      classyard submit ~/Pictures --model mobilenet_v2 --wait

      find /scans -name '*.jpg' | classyard submit - --model digits --key scans-2024
    """
    settings = read_settings(queue=queue)
    sources = open_sources(source, stdin=sys.stdin.buffer, limits=settings.fetch_limits)
    level = priority_named(priority)
    chosen = choices(reuse=reuse, max_errors=max_errors, embeddings=embeddings)
    if webhook is not None:
        chosen["webhook"] = check_webhook(webhook, settings)
    options = {"truth_column": truth_column, **chosen}
    request = job_request(settings, sources, model, top_k, root or (), options)
    request = request.named(name, key=key, priority=level)
    if dry_run:
        with open_record(settings) as database:
            reader = Undone(sources, database, request) if skip_done else sources
            found = preflight(database, settings, request, reader.blocks(1000))
        show.preflight(found, as_json=as_json)
        return
    with open_desk(settings, own_redis=False) as opened:
        done = submit_with_progress(opened, sources, request, chunk_size, skip_done=skip_done)
        if wait:
            progress = show.wait(opened, done.job_id)
            show.ending(opened, progress, as_json=as_json)
            raise typer.Exit(show.exit_code(progress))
    if as_json:
        record = {"job_id": done.job_id, "total": done.total, "skipped": done.skipped}
        sys.stdout.write(json.dumps({**record, "existing": done.existing}) + "\n")
    else:
        if done.skipped:
            err().print(f"{done.skipped:,} images left out: they have labels by this model")
        if done.existing:
            err().print(f"job {done.job_id} was submitted under this key before")
        out().print(str(done.job_id))


def submit_with_progress(
    desk: Desk,
    sources: Sources,
    request: JobRequest,
    chunk_size: int | None,
    *,
    skip_done: bool = False,
) -> Submission:
    """Submit, telling a person how far reading got."""
    size = chunk_size or desk.settings.chunk_size
    try:
        with show.reading() as on_read:
            done = submit_job(desk, sources, request, size, on_read, skip_done=skip_done)
    except KeyboardInterrupt:
        raise StoppedError(
            "interrupted; a job is submitted whole or not at all: see 'classyard jobs'"
        ) from None
    if done.outside:
        err().print(
            f"{printable(str(done.outside))} is not below a folder of this job: workers will refuse "
            f"it and its like (path_forbidden); allow them with --root {done.outside.parent}",
            markup=False,
            soft_wrap=True,
        )
    return done


def choices(*, reuse: bool, max_errors: str | None, embeddings: bool = False) -> dict[str, Any]:
    """Return the options of a job that steer how it is worked off.

    Raises:
        UsageError: if the error limit is none.
    """
    chosen: dict[str, Any] = {}
    if reuse:
        chosen["reuse"] = True
    if embeddings:
        chosen["embeddings"] = True
    if max_errors is not None:
        chosen["max_errors"] = str(parse_error_limit(max_errors))
    return chosen
