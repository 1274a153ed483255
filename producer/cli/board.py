"""The live board of `classyard up`: children, jobs under way and workers, on a terminal only."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError

from db import queries, workers
from db.jobs import active_jobs
from db.pace import worker_rates
from producer.cli.options import interactive, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from db.queries import Progress
    from producer.submit import Desk
    from producer.up import Crew

#: Jobs and workers shown, at most: the board must leave room for the logs.
MOST_ROWS = 6
#: Seconds between two looks, at least.
PAUSE = 1.0


@contextmanager
def board_shown(desk: Desk, crew: Crew, console: Console) -> Iterator[Callable[[], None]]:
    """Show the board below what is printed; yield what brings it up to date."""
    if not interactive():
        yield lambda: None
        return
    due = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def refresh() -> None:
            nonlocal due
            started = time.monotonic()
            if started >= due:
                live.update(board(desk, crew), refresh=True)
                # A look at a job of a million chunks takes long: never more than a tenth of the time.
                due = time.monotonic() + max(PAUSE, 9 * (time.monotonic() - started))

        yield refresh


def board(desk: Desk, crew: Crew) -> RenderableType:
    """Return what there is to see now."""
    parts: list[RenderableType] = [Text("─" * 40, style="dim"), _children(crew)]
    try:
        parts += [_jobs(desk), _workers(desk)]
    except DBAPIError as error:
        reason = (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
        parts.append(Text(f"the database does not answer: {reason}", style="red"))
    return Group(*parts)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _children(crew: Crew) -> Table:
    table = _table("child", "state", "restarts")
    # Here to stay, for the logs carry away what is printed once; wrapped, for it is there to be copied.
    table.add_column("where", overflow="fold")
    for name, place in crew.places():
        service = crew.services[name]
        table.add_row(name, service.state, str(service.restarts), escape(place))
    return table


def _jobs(desk: Desk) -> RenderableType:
    ids = list(desk.database.read(active_jobs, 0))
    table = _table("job", "done", "of", "failed", "images/s", "name")
    for job_id in ids[:MOST_ROWS]:
        progress: Progress = desk.database.read(queries.progress, job_id)
        table.add_row(
            str(job_id),
            f"{progress.done:,}",
            f"{progress.total:,}",
            f"{progress.failed:,}",
            f"{progress.rate:,.1f}",
            plain(progress.name[:40]),
        )
    if not ids:
        return Text("no job is under way", style="dim")
    if len(ids) > MOST_ROWS:
        table.add_row(f"… and {len(ids) - MOST_ROWS} more")
    return table


def _workers(desk: Desk) -> Table:
    live = desk.database.read(workers.live_workers, desk.settings.dead_after)
    rates = desk.database.read(worker_rates)
    table = _table("worker", "queue", "slots", "device", "images/s")
    for worker in live[:MOST_ROWS]:
        info = worker.info
        rate = f"{rates.get(info.id, 0.0):,.1f}"
        table.add_row(f"{info.host}:{info.pid}", info.queue, str(info.slots), info.device, rate)
    return table
