"""All commands, in the order the help lists them."""

from __future__ import annotations

import typer

from producer.cli import compare, desk, jobs, local, prune, results, service, steer, up, watch

cli = typer.Typer(
    name="classyard",
    help="Bulk image classification: from a folder of pictures to a SQL table, one row per picture.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

LOCAL = "On this machine"
DESK = "Jobs"
RESULTS = "Results"
SERVICE = "Services"

for panel, functions in (
    (LOCAL, (local.demo, local.run, up.up)),
    (DESK, (desk.submit, watch.watch, jobs.list_jobs, jobs.status)),
    (DESK, (steer.cancel, steer.pause, steer.resume, steer.retry)),
    (RESULTS, (results.results, results.export, compare.diff, compare.score, prune.prune)),
    (
        SERVICE,
        (
            service.models,
            service.worker,
            service.flower,
            service.metrics,
            service.migrate,
            service.sweep,
            service.doctor,
        ),
    ),
):
    for function in functions:
        name = "jobs" if function is jobs.list_jobs else function.__name__
        cli.command(name, rich_help_panel=panel)(function)
