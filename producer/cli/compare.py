"""`diff`, `score`: a job against another, and against the truth."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated, Any

import typer

from core.settings import read_settings
from producer.cli import tables
from producer.cli.options import JobArgument, JsonOption, TruthOption
from producer.diff import diff as compare
from producer.score import score as compare_with_truth
from producer.yard import open_record

ShownOption = Annotated[int, typer.Option("--limit", "-n", min=1, help="Entries of each list.")]


def diff(
    job_a: Annotated[int, typer.Argument(metavar="JOB_A", min=1)],
    job_b: Annotated[int, typer.Argument(metavar="JOB_B", min=1)],
    limit: ShownOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Compare two jobs over the same URIs: agreement, changed labels, score shifts."""
    with open_record(read_settings()) as database:
        found = compare(database, job_a, job_b, limit)
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


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
