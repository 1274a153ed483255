"""`submit`: images into the queue."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.modelfiles import check_files
from core.modelspec import read_model
from core.settings import read_settings
from core.types import Priority, printable
from db.jobs import JobRequest
from producer.cli import show
from producer.cli.options import (
    ChunkSizeOption,
    JsonOption,
    ModelOption,
    NameOption,
    RootOption,
    SourceArgument,
    TopKOption,
    err,
    out,
)
from producer.sources import open_sources
from producer.submit import Submission
from producer.submit import submit as submit_job
from producer.yard import open_desk

if TYPE_CHECKING:
    from core.settings import Settings
    from producer.sources import Sources
    from producer.submit import Desk

#: Longest name a job gets from its sources.
NAME_LENGTH = 80


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
    chunk_size: ChunkSizeOption = None,
    root: RootOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit images as one job and print its id.

    Needs a running yard: 'classyard up', or CLASSYARD_BROKER_URL and CLASSYARD_DATABASE_URL.

    Examples:
      classyard submit ~/Pictures --model mobilenet_v2 --wait

      find /scans -name '*.jpg' | classyard submit - --model digits --key scans-2024
    """
    settings = read_settings()
    sources = open_sources(source, stdin=sys.stdin.buffer)
    level = _priority(priority)
    with open_desk(settings, own_redis=False) as opened:
        request = job_request(settings, sources, model, top_k, roots=root or ())
        request = request.named(name, key=key, priority=level)
        done = submit_with_progress(opened, sources, request, chunk_size)
        if wait:
            progress = show.follow(opened, done.job_id)
            show.ending(opened, progress, as_json=as_json)
            raise typer.Exit(show.exit_code(progress))
    if as_json:
        sys.stdout.write(json.dumps({"job_id": done.job_id, "total": done.total}) + "\n")
    else:
        if done.existing:
            err().print(f"job {done.job_id} was submitted under this key before")
        out().print(str(done.job_id))


def job_request(
    settings: Settings, sources: Sources, model: str, top_k: int, roots: tuple[str, ...] | list[str]
) -> JobRequest:
    """Check the model as far as a producer can, and return what to ask for.

    Raises:
        ModelError: if the model is unknown or its files are missing or broken.
    """
    spec = read_model(model, settings.models_path)
    check_files(spec)
    allowed = [str(path) for path in (*sources.roots, *(Path(root).resolve() for root in roots))]
    return JobRequest(
        name=printable(sources.description, NAME_LENGTH),
        model=spec.name,
        fingerprint=spec.fingerprint,
        queue=settings.queue,
        top_k=min(top_k, len(spec.labels)),
        options={"roots": allowed},
    )


def submit_with_progress(
    desk: Desk, sources: Sources, request: JobRequest, chunk_size: int | None
) -> Submission:
    """Submit, telling a person how far reading got."""
    size = chunk_size or desk.settings.chunk_size
    with show.reading() as on_read:
        return submit_job(desk, sources, request, size, on_read)


def _priority(word: str) -> Priority:
    try:
        return Priority[word.upper()]
    except KeyError:
        raise typer.BadParameter("high, normal or low", param_hint="--priority") from None
