"""`worker`, `flower`, `metrics`, `migrate`, `sweep`, `doctor`: what keeps a yard going."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from contextlib import ExitStack, suppress
from typing import Annotated

import typer
from rich.table import Table

from broker.embedded import embedded_redis
from broker.sweep import sweep as run_sweep
from core.settings import read_settings
from db.migrate import migrate as run_migrate
from db.session import open_database
from producer.cli.options import ConcurrencyOption, JsonOption, err, out
from producer.doctor import examine, examine_worker
from producer.flower import new_password, run_flower
from producer.webhook import deliver_due
from producer.yard import open_desk, worker_command


def worker(
    concurrency: ConcurrencyOption = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="auto, litert, openvino, keras or stub.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", "-q", help="Queue to serve.")] = None,
    preload: Annotated[
        list[str] | None, typer.Option("--preload", help="Model that each child loads at start.")
    ] = None,
) -> None:
    """Run a worker in the foreground (what 'up' starts); SIGTERM stops it in good order."""
    settings = read_settings(
        concurrency=concurrency,
        engine=engine,
        queue=queue,
        preload=tuple(preload) if preload else None,
    )
    command = worker_command()
    # Become the worker: signals and exit code are then its own.
    os.execve(command[0], command, settings.as_environment())  # noqa: S606


def flower(
    allow_writes: Annotated[
        bool, typer.Option("--allow-writes", help="Let Flower stop workers and revoke tasks.")
    ] = False,
) -> None:
    """Run Flower on loopback, user 'classyard', with CLASSYARD_FLOWER_PASSWORD or a new password."""
    settings = read_settings()
    password = settings.flower_password
    if not password:
        password = new_password()
        said = f"http://{settings.flower_address}:{settings.flower_port}  user classyard, password {password}"
        err().print(said, soft_wrap=True)
    with ExitStack() as stack:
        if not settings.broker_url:
            # As one of its users: Flower would else lose the embedded Redis with whoever started it.
            stack.enter_context(embedded_redis(settings.home))
        run_flower(settings, password, read_only=not allow_writes)


def metrics() -> None:
    """Serve the yard's metrics for Prometheus: queues, jobs, workers, from SQL and Redis."""
    from producer.metrics import serve_yard

    settings = read_settings()
    said = f"http://{settings.metrics_address}:{settings.metrics_port}/metrics"
    err().print(said, soft_wrap=True)
    with suppress(KeyboardInterrupt):  # stopped as asked
        serve_yard(settings)


def migrate() -> None:
    """Bring the database to this version's schema; safe to run again."""
    database = open_database(read_settings().database)
    revision = run_migrate(database)
    out().print(
        f"{database.engine.url.render_as_string(hide_password=True)} is at revision {revision}",
        soft_wrap=True,
    )


def sweep(as_json: JsonOption = False) -> None:
    """Send again what dead workers held and what Redis lost. Needs no worker; safe at any time."""
    settings = read_settings()
    with open_desk(settings, own_redis=False) as desk:
        swept = run_sweep(desk.app, desk.database, settings)
        deliver_due(desk.database, settings)
    if as_json:
        sys.stdout.write(json.dumps(dataclasses.asdict(swept)) + "\n")
        return
    out().print(
        f"{swept.dead} chunks of dead workers and {swept.lost} lost messages freed, "
        f"{swept.resolved} chunks split or given up, {swept.sent} chunks sent, "
        f"{swept.closed} jobs closed",
        soft_wrap=True,
    )


def doctor(
    worker: Annotated[
        bool,
        typer.Option("--worker", help="Only this host's worker, by its progress: for containers."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at database, Redis, workers, queue and models; exit code 1 if something is wrong."""
    settings = read_settings()
    findings = [examine_worker(settings)] if worker else examine(settings)
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(found) for found in findings]) + "\n")
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for found in findings:
            mark = "[green]ok[/]" if found.ok else "[red]bad[/]"
            table.add_row(mark, found.subject, found.text)
        out().print(table)
    raise typer.Exit(0 if all(found.ok for found in findings) else 1)
