"""What a person sees: progress, tables, the accounting line. Knows Rich; decides nothing."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from core.errors import StoppedError
from core.types import JobStatus, printable
from db import queries, results
from db.results import ResultFilter
from producer.cli.oneimage import one_image
from producer.cli.options import err, interactive, out, plain
from producer.cli.tables import Column, print_table, results_table
from producer.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from db.queries import Progress as JobProgress
    from db.session import Database
    from producer.glance import Glance
    from producer.preflight import Preflight
    from producer.submit import Desk

#: Rows shown at the end of a run; the rest is one command away.
SHOWN = 20
#: A status is cut last: it has one of a few words.
STATUS_WEIGHT = 20


@contextmanager
def reading() -> Iterator[Callable[[int], None]]:
    """Tell a person how many images were read so far."""
    if not interactive():
        yield lambda _: None
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err()) as bar:
        task = bar.add_task("reading the sources")
        yield lambda total: bar.update(task, description=f"submitted {total:,} images")


def follow(desk: Desk, job_id: int, tick: Callable[[], str] = lambda: "") -> JobProgress:
    """Show a job's progress until it has ended; `tick` may report what happens meanwhile."""
    columns = (
        TextColumn("[bold]job {task.fields[job]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    from producer.watch import watch  # inside: who only looks needs nothing of the broker's

    last: JobProgress | None = None
    said = ""
    with Progress(*columns, console=err(), disable=not interactive()) as bar:
        task = bar.add_task("", job=job_id, state="")
        for glance in watch(desk, job_id):
            last = glance.progress
            bar.update(task, completed=last.done, total=last.total or None, state=_state(glance))
            for text in (tick(), glance.obstacle):
                if text and text != said:
                    said = text
                    bar.console.print(f"[yellow]{plain(text)}[/]")
    assert last is not None
    return last


def wait(desk: Desk, job_id: int) -> JobProgress:
    """Follow a job that goes on without us.

    Raises:
        StoppedError: at Ctrl-C.
    """
    try:
        return follow(desk, job_id)
    except KeyboardInterrupt:
        raise StoppedError(
            f"interrupted; job {job_id} goes on: 'classyard status {job_id} --watch' follows it"
        ) from None


def glance(desk: Desk, job_id: int) -> JobProgress:
    """Return a job's progress as it is now."""
    return desk.database.read(queries.progress, job_id)


def _state(glance: Glance) -> str:
    progress = glance.progress
    limit = glance.pace.limit()
    words = [limit] if limit else []
    if progress.failed:
        words.append(f"[red]{progress.failed} failed[/]")
    if progress.retrying:
        words.append(f"{progress.retrying} run again")
    if glance.seconds_left is not None:
        words.append(f"{duration(glance.seconds_left)} left")
    return ", ".join(words)


def ending(desk: Desk, progress: JobProgress, *, as_json: bool = False) -> None:
    """Show how a job ended: one image as its labels, more as a table, then the summary."""
    if as_json:
        sys.stdout.write(json.dumps(as_dict(progress)) + "\n")
        return
    if progress.total == 1:
        one_image(desk.database, desk.settings, progress.job_id)
    else:
        results_table(desk.database, progress.job_id, ResultFilter(limit=SHOWN))
        if progress.done > SHOWN:
            more = progress.done - SHOWN
            out().print(f"… and {more:,} more: classyard results {progress.job_id}\n")
    summary(desk, progress)


def jobs_table(found: Sequence[JobProgress]) -> None:
    """Print the table of `classyard jobs`."""
    columns = [
        Column("job"), Column("submitted"), Column("ok"), Column("failed"), Column("pending"),
        Column("status", STATUS_WEIGHT), Column("model", 1), Column("name", 3),
    ]  # fmt: skip
    rows = [
        (
            str(progress.job_id), f"{progress.total:,}", f"{progress.ok:,}", f"{progress.failed:,}",
            f"{progress.pending:,}", (str(progress.status), _color(progress.status)),
            printable(progress.model), printable(progress.name),
        )
        for progress in found
    ]  # fmt: skip
    print_table(columns, rows)


def accounting(database: Database, glance: Glance) -> None:
    """Print where a job stands: the accounting line, rate, stages, obstacle, failures."""
    say = partial(out().print, soft_wrap=True)
    progress = glance.progress
    say(
        f"job {progress.job_id}  {_status(progress.status)}  {plain(progress.name)}  "
        f"[dim]{plain(progress.model)} {progress.fingerprint[:12]}[/]"
    )
    say(identity(progress))
    if progress.elapsed:
        say(f"{duration(progress.elapsed)}, {progress.rate:.1f} images/s{_stages(progress)}")
    if glance.seconds_left is not None:
        say(f"{glance.pace.limit()}; {duration(glance.seconds_left)} left")
    for worker, rate in glance.workers.items():
        say(f"  {rate:>10,.1f} images/s  {plain(worker)}")
    _further(progress)
    if glance.obstacle:
        say(f"[yellow]waiting: {plain(glance.obstacle)}[/]")
    _failures(database, progress)


def summary(desk: Desk, progress: JobProgress) -> None:
    """Print the end of a job and how to ask the table for more."""
    say = partial(out().print, soft_wrap=True)
    say(
        f"job {progress.job_id} {_status(progress.status)}: {identity(progress)} "
        f"in {duration(progress.elapsed)} ({progress.rate:.1f} images/s)"
    )
    _further(progress)
    _failures(desk.database, progress)
    where = desk.database.engine.url
    shell = (
        f"sqlite3 '{where.database}'"
        if desk.database.dialect == "sqlite"
        else f"psql '{where.set(drivername='postgresql').render_as_string(hide_password=True)}'"
    )
    query = f"SELECT * FROM results WHERE job_id = {progress.job_id} LIMIT 10"  # noqa: S608 - shown
    say(f"\nAsk for more: classyard results {progress.job_id} --help")
    say(f'or in SQL:    {plain(shell)} "{query}"')


def identity(progress: JobProgress) -> str:
    """Return the accounting line: every submitted image is in exactly one of its terms."""
    return (
        f"{progress.total:,} submitted = {progress.ok:,} ok + {progress.failed:,} failed + "
        f"{progress.cancelled:,} cancelled + {progress.pending:,} pending"
    )


def _further(progress: JobProgress) -> None:
    """Print what the accounting line does not tell."""
    for number, what in (
        (progress.retrying, "failed and run again now; their rows show the failure until then"),
        (progress.reused, "answered from rows that were there, without inference"),
        (progress.skipped, "left out: they had labels by this model"),
    ):
        if number:
            out().print(f"{number:,} {what}")
    if progress.error:
        out().print(f"[red]{plain(progress.error)}[/]")


def _failures(database: Database, progress: JobProgress) -> None:
    if not progress.failed:
        return
    for code, number in database.read(results.failures_by_code, progress.job_id):
        out().print(f"  [red]{code:<20}[/] {number:,}")
    job = progress.job_id
    out().print(
        f"See them: classyard results {job} --failed; once mended: classyard retry {job}",
        soft_wrap=True,
    )


def _stages(progress: JobProgress) -> str:
    seconds = {
        "fetch": progress.fetch_seconds,
        "decode": progress.decode_seconds,
        "predict": progress.predict_seconds,
        "record": progress.record_seconds,
    }
    total = sum(seconds.values())
    if not total:
        return ""
    return " (" + ", ".join(f"{name} {part / total:.0%}" for name, part in seconds.items()) + ")"


def as_dict(progress: JobProgress) -> dict[str, Any]:
    """Return a job's progress as JSON values."""
    record = dataclasses.asdict(progress)
    for name in ("created_at", "started_at", "finished_at"):
        record[name] = record[name].isoformat() if record[name] else None
    return {**record, "rate": progress.rate, "done": progress.done}


def glance_as_dict(glance: Glance) -> dict[str, Any]:
    """Return where a job stands as JSON values: its progress, its pace and what is in its way."""
    return {
        **as_dict(glance.progress),
        "recent_rate": glance.pace.rate,
        "seconds_left": glance.seconds_left,
        "limit": glance.pace.limit(),
        "obstacle": glance.obstacle,
        "workers": dict(glance.workers),
    }


def preflight(found: Preflight, *, as_json: bool) -> None:
    """Print what a sample of a submission's images met."""
    if as_json:
        record = {**dataclasses.asdict(found), "failure_rate": found.failure_rate}
        sys.stdout.write(json.dumps(record) + "\n")
        return
    say = out().print
    say(f"{found.total:,} images, {found.answered} of {found.sampled} sampled were looked at")
    if not found.answered:
        return
    say(f"reachable  {found.reached / found.answered:.0%}")
    if found.mean_bytes is not None:
        formats = ", ".join(f"{name} {number}" for name, number in found.formats.items())
        say(f"formats    {formats}; {found.mean_bytes / 1024:,.1f} KiB each")
    codes = ", ".join(f"{code} {number}" for code, number in found.failures.items())
    say(f"failing    {found.failure_rate:.0%} {f'({codes})' if codes else ''}".rstrip())
    if found.seconds is not None:
        say(
            f"duration   {duration(found.seconds)} with the {found.slots} slots of the live workers"
        )
    elif not found.slots:
        say("duration   unknown: no worker is running")
    else:
        say("duration   unknown: no worker has classified with this model yet")


def exit_code(progress: JobProgress) -> int:
    """Return 0 if all images are ok, 3 if the job finished with failed ones, 1 if it did not finish."""
    if progress.status == JobStatus.COMPLETED:
        return 0
    return 3 if progress.status == JobStatus.COMPLETED_WITH_ERRORS else 1


def _color(status: JobStatus) -> str:
    colors = {
        JobStatus.COMPLETED: "green",
        JobStatus.COMPLETED_WITH_ERRORS: "yellow",
        JobStatus.FAILED: "red",
    }
    return colors.get(status, "cyan")


def _status(status: JobStatus) -> str:
    return f"[{_color(status)}]{status}[/]"
