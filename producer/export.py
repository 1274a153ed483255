"""Export: a job's results as CSV or JSON lines, streamed, written whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from db.queries import stream_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from db.queries import ResultFilter
    from db.session import Database

COLUMNS = (
    "position", "uri", "status", "class_index", "label", "score", "error_code", "error", "width",
    "height", "content_hash", "model",
)  # fmt: skip
#: A cell that begins like this is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(
    database: Database, job_id: int, chosen: ResultFilter, kind: str, top_k: int, path: Path | None
) -> None:
    """Write results as `csv` or `jsonl` to a file, or to standard output if `path` is None."""
    rows = stream_results(database, job_id, chosen)
    with _destination(path) as file:
        if kind == "csv":
            _write_csv(file, rows, top_k)
        else:
            for row in rows:
                file.write(json.dumps(as_record(row), ensure_ascii=False) + "\n")


def as_record(row: Row[Any]) -> dict[str, Any]:
    """Return a result as nested values, its top-k as a list of objects."""
    record = {name: getattr(row, name) for name in COLUMNS}
    record["predictions"] = [
        {"rank": rank, "class_index": index, "label": label, "score": score}
        for rank, (index, label, score) in enumerate(row.predictions or (), 1)
    ]
    record["extra"] = row.extra
    record["classified_at"] = row.classified_at.isoformat()
    return record


def _write_csv(file: IO[str], rows: Iterator[Row[Any]], top_k: int) -> None:
    writer = csv.writer(file)
    ranks = range(2, top_k + 1)
    flat = [f"{name}_{rank}" for rank in ranks for name in ("label", "score")]
    writer.writerow([*COLUMNS, *flat, "extra"])
    for row in rows:
        further = (row.predictions or ())[1:top_k]
        cells = [cell for _, label, score in further for cell in (label, score)]
        cells += [""] * (2 * len(ranks) - len(cells))
        extra = "" if row.extra is None else json.dumps(row.extra, ensure_ascii=False)
        values = [*(getattr(row, name) for name in COLUMNS), *cells, extra]
        writer.writerow([_safe(value) for value in values])


def _safe(value: Any) -> Any:
    """Keep a spreadsheet from running what a file name or a label says."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


@contextmanager
def _destination(path: Path | None) -> Iterator[IO[str]]:
    """Yield a file that appears under its name only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    handle, name = tempfile.mkstemp(dir=path.parent or Path(), prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
