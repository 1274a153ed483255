"""`results`, `export`: a job's rows, on the terminal and in files."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import StoppedError, UsageError
from core.settings import read_settings
from db import queries
from db import results as reads
from db.results import ResultFilter
from producer.answers import uncertain as least_certain
from producer.cli import tables
from producer.cli.filters import (
    ClassOption,
    CodeOption,
    FailedOption,
    LabelOption,
    LimitOption,
    MaxMarginOption,
    MaxScoreOption,
    MinMarginOption,
    MinScoreOption,
    StatusOption,
    UncertainOption,
    WhereOption,
    chosen_columns,
    chosen_status,
)
from producer.cli.options import JobArgument, err
from producer.export import Format, format_of, read_layout, write_rows
from producer.record import open_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Row

    from db.session import Database

#: Rows of `--uncertain` if no number is given.
UNCERTAIN = 50


def results(
    job: JobArgument,
    label: LabelOption = None,
    class_index: ClassOption = None,
    min_score: MinScoreOption = None,
    max_score: MaxScoreOption = None,
    min_margin: MinMarginOption = None,
    max_margin: MaxMarginOption = None,
    status: StatusOption = None,
    failed: FailedOption = False,
    code: CodeOption = None,
    where: WhereOption = None,
    uncertain: UncertainOption = False,
    limit: LimitOption = None,
    kind: Annotated[
        str | None, typer.Option("--format", "-f", help="table, csv, jsonl or parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As --format jsonl.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a file.")] = None,
) -> None:
    """Print a job's results, also while it runs.

    Examples:
      classyard results 12 --label tench --min-score 0.8

      classyard results 12 --uncertain --limit 100

      classyard results 12 --failed --where camera=north --format csv
    """
    chosen = ResultFilter(
        label, class_index, min_score, max_score, min_margin, max_margin,
        chosen_status(status, failed=failed), code, chosen_columns(where), limit,
    )  # fmt: skip
    with open_record(read_settings()) as database:
        _check(database, job, chosen, uncertain)
        if output is None and not as_json and kind in {None, "table"}:
            if uncertain:
                tables.uncertain_table(_rows(database, job, chosen, True))
            else:
                tables.results_table(database, job, chosen)
        else:
            chosen_kind = _format("jsonl" if as_json else kind, output)
            _write(database, job, chosen, chosen_kind, output, uncertain=uncertain)


def export(
    job: JobArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File: .csv, .jsonl or .parquet.")],
    label: LabelOption = None,
    class_index: ClassOption = None,
    min_score: MinScoreOption = None,
    max_score: MaxScoreOption = None,
    min_margin: MinMarginOption = None,
    max_margin: MaxMarginOption = None,
    status: StatusOption = None,
    failed: FailedOption = False,
    code: CodeOption = None,
    where: WhereOption = None,
    uncertain: UncertainOption = False,
    limit: LimitOption = None,
    kind: Annotated[
        str | None, typer.Option("--format", "-f", help="csv, jsonl or parquet; default: by name.")
    ] = None,
) -> None:
    """Write a job's results to a file: whole, or not at all. In CSV one line per image.

    Examples:
      classyard export 12 -o labels.csv

      classyard export 12 -o surely-cats.parquet --label tabby --min-margin 0.5
    """
    chosen = ResultFilter(
        label, class_index, min_score, max_score, min_margin, max_margin,
        chosen_status(status, failed=failed), code, chosen_columns(where), limit,
    )  # fmt: skip
    chosen_kind = _format(kind, output)
    with open_record(read_settings()) as database:
        _check(database, job, chosen, uncertain)
        _write(database, job, chosen, chosen_kind, output, uncertain=uncertain)


def _rows(database: Database, job: int, chosen: ResultFilter, by_doubt: bool) -> Iterable[Row[Any]]:
    if by_doubt:
        return least_certain(database, job, chosen, chosen.limit or UNCERTAIN)
    return reads.stream_results(database, job, chosen)


def _write(
    database: Database,
    job: int,
    chosen: ResultFilter,
    kind: Format,
    output: Path | None,
    *,
    uncertain: bool,
) -> None:
    # SIGTERM like Ctrl-C: the part of a file that was written must go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = _rows(database, job, chosen, uncertain)
    try:
        number = write_rows(rows, read_layout(database, job), kind, output)
    except KeyboardInterrupt:
        kept = f"; {output} was not written" if output else ""
        raise StoppedError(f"interrupted{kept}") from None
    if output is None:
        return
    err().print(f"{number:,} rows in {output}", markup=False, soft_wrap=True)
    progress = database.read(queries.progress, job)
    if not progress.status.terminal:
        err().print(f"job {job} is {progress.status}: {progress.pending:,} images have no row yet")


def _check(database: Database, job: int, chosen: ResultFilter, by_doubt: bool) -> None:
    """Refuse what would be an empty table for a reason that is not in the rows."""
    database.read(queries.progress, job)
    by_margin = chosen.min_margin is not None or chosen.max_margin is not None
    if (by_margin or by_doubt) and database.read(queries.top_k, job) < 2:
        raise UsageError(f"job {job} keeps one label per image: a margin needs --top-k 2 or more")
    if by_doubt and (chosen.limit or 0) > reads.UNCERTAIN_LIMIT:
        raise UsageError(
            f"--uncertain orders at most {reads.UNCERTAIN_LIMIT:,} rows: lower --limit"
        )


def _format(kind: str | None, output: Path | None) -> Format:
    if kind is None:
        return format_of(output) if output else Format.CSV
    try:
        return Format(kind)
    except ValueError:
        raise typer.BadParameter("csv, jsonl or parquet", param_hint="--format") from None
