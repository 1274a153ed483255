"""All commands, in the order the help lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from producer.cli import (
    compare,
    desk,
    jobs,
    local,
    models,
    prune,
    report,
    results,
    service,
    steer,
    up,
    watch,
    web,
)
from producer.cli.options import out

cli = typer.Typer(
    name="classyard",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out().print(f"classyard {version('classyard')}")
        raise typer.Exit


@cli.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Bulk image classification: from a folder of pictures to a SQL table, one row per picture."""


LOCAL = "On this machine"
DESK = "Jobs"
RESULTS = "Results"
SERVICE = "Services"

for panel, functions in (
    (LOCAL, (local.demo, local.run, up.up)),
    (DESK, (desk.submit, watch.watch, jobs.list_jobs, jobs.status)),
    (DESK, (steer.cancel, steer.pause, steer.resume, steer.retry)),
    (
        RESULTS,
        (results.results, results.export, report.report, compare.diff, compare.score, prune.prune),
    ),
    (
        SERVICE,
        (
            service.worker,
            service.flower,
            service.metrics,
            web.web,
            service.migrate,
            service.sweep,
            service.doctor,
        ),
    ),
):
    for function in functions:
        name = "jobs" if function is jobs.list_jobs else function.__name__
        cli.command(name, rich_help_panel=panel)(function)

cli.add_typer(models.models_cli, name="models", rich_help_panel=SERVICE)
