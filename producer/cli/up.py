"""`up`: the whole yard on this machine, kept running and shown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from core.settings import read_settings
from producer.cli.local import end_in_good_order
from producer.cli.options import ConcurrencyOption, err
from producer.up import Crew
from producer.web.listening import is_installed
from producer.yard import open_desk, wait_for_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

#: Seconds between looks after the children.
LOOK = 0.5


def up(
    flower: Annotated[bool, typer.Option("--flower", help="Start Flower, too.")] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Do not start the web page.")] = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Serve metrics for Prometheus, too.")
    ] = False,
    concurrency: ConcurrencyOption = None,
) -> None:
    """Keep Redis, a worker, the web page and what else is asked for running until Ctrl-C.

    Addresses are printed, with the passwords that were made up. What dies is started again. On a
    terminal the jobs and workers are shown below the logs.

    Example:
      classyard up --flower        then, elsewhere: classyard submit ~/Pictures --wait
    """
    from producer.cli.board import board_shown

    settings = read_settings(concurrency=concurrency)
    if metrics and not settings.worker_metrics_port:
        beside = settings.metrics_port % 65535 + 1
        settings = read_settings(concurrency=concurrency, worker_metrics_port=beside)
    end_in_good_order()
    console = err()
    wanted = {
        "worker": True,
        "flower": flower,
        "metrics": metrics,
        "web": not no_web and is_installed(),
    }
    names = [name for name, chosen in wanted.items() if chosen]
    with open_desk(settings) as desk, Crew(settings, names) as crew:
        wait_for_worker(desk, crew.services["worker"])
        crew.wait_until_open()
        where = desk.database.engine.url.render_as_string(hide_password=True)
        # Not wrapped: paths and the password are there to be copied.
        for name, place in (*crew.places(), ("database", where)):
            console.print(f"{name:<9} {escape(place)}", soft_wrap=True)
        if not no_web and "web" not in names:
            console.print("web       not installed: pip install 'classyard\\[web]'", soft_wrap=True)
        console.print("[green]up[/]: submit with 'classyard submit SOURCE'; Ctrl-C stops")
        try:
            with board_shown(desk, crew, console) as refresh:
                _look_after(crew, console, refresh)
        except KeyboardInterrupt:
            console.print("stopping: chunks in work are finished or handed back")


def _look_after(crew: Crew, console: Console, refresh: Callable[[], None]) -> None:
    """Start again what dies and pass on what is logged, until Ctrl-C or SIGTERM."""
    while True:
        for name, line in crew.supervise():
            console.print(f"[dim]{name:<8}|[/] {escape(line)}", soft_wrap=True)
        refresh()
        time.sleep(LOOK)
