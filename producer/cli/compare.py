"""`diff`, `score`: a job against another, and against the truth."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from core.settings import read_settings
from producer.cli import tables
from producer.cli.options import JobArgument, JsonOption, TruthOption
from producer.cli.pages import THUMBNAILS, ReportOption, check_page, write_page
from producer.diff import diff as compare
from producer.record import open_record
from producer.score import score as compare_with_truth

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings
    from db.session import Database
    from producer.diff import Diff

#: Images side by side in a page, at least.
PAIRS: Final = 120

ShownOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="Entries of each list.")]


def diff(
    job_a: Annotated[int, typer.Argument(metavar="JOB_A", min=1)],
    job_b: Annotated[int, typer.Argument(metavar="JOB_B", min=1)],
    limit: ShownOption = 20,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two jobs over the same URIs: agreement, changed labels, score shifts.

    Example:
      classyard diff 12 13 --report diff.html --limit 100
    """
    settings = read_settings()
    check_page(report)
    with open_record(settings) as database:
        found = compare(database, job_a, job_b, max(limit, PAIRS) if report else limit)
        if report is not None:
            _write_page(database, settings, found, report)
    found = dataclasses.replace(found, changes=found.changes[:limit])
    if not as_json:
        tables.diff_table(found, limit)
        return
    record = dataclasses.asdict(found)
    record["label_changes"] = record["label_changes"][:limit]
    _print_json({**record, "agreement": found.agreement})


def score(
    job: JobArgument,
    truth_column: TruthOption = None,
    limit: ShownOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Compare a job's labels with the truth: top-1, top-k, per class, confusions, calibration.

    The column is the one that 'submit --truth-column' named, or any other of the manifest.
    """
    settings = read_settings()
    with open_record(settings) as database:
        found = compare_with_truth(database, settings.models_path, job, truth_column)
    if not as_json:
        tables.score_table(found, limit)
        return
    record = dataclasses.asdict(found)
    record["classes"] = [
        {**dataclasses.asdict(one), "precision": one.precision, "recall": one.recall}
        for one in found.classes
    ]
    record["confusions"] = record["confusions"][:limit]
    _print_json(record)


def _write_page(database: Database, settings: Settings, found: Diff, path: Path) -> None:
    from producer.report.versus import write_diff

    write_page(path, lambda: write_diff(database, settings, found, path, THUMBNAILS))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
