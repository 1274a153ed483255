"""Export: results as CSV, JSON lines or Parquet, streamed, written whole or not at all."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO

from core.errors import UsageError
from producer.export.atomic import whole_file
from producer.export.layout import COLUMNS, Layout, as_record, read_layout
from producer.export.parquet import write_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Row

__all__ = ["COLUMNS", "Format", "Layout", "as_record", "format_of", "read_layout", "write_rows"]


class Format(StrEnum):
    """What a file of results may be."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_ENDINGS = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}


def format_of(path: Path) -> Format:
    """Return the format that the ending of a file's name stands for.

    Raises:
        UsageError: if it stands for none.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"cannot tell the format from '{path.name}': name it .csv, .jsonl or .parquet, "
            "or say --format"
        ) from None


def write_rows(
    rows: Iterable[Row[Any]], layout: Layout, kind: Format, path: Path | None = None
) -> int:
    """Write rows to a file, or to standard output without a path; return how many there were.

    Raises:
        UsageError: if Parquet, which is no text, would go to a terminal.
        ClassyardError: if the file cannot be written, or pyarrow is missing.
    """
    if path is None and kind == Format.PARQUET and sys.stdout.isatty():
        raise UsageError("Parquet is no text: name a file with -o")
    counted = _Counted(rows)
    with _destination(path) as file:
        if kind == Format.PARQUET:
            write_parquet(file, counted, layout)
        elif kind == Format.CSV:
            _write_csv(_Utf8(file), counted, layout)
        else:
            for row in counted:
                line = json.dumps(as_record(row), ensure_ascii=False)
                file.write(f"{line}\n".encode())
    return counted.number


class _Counted:
    """Rows, and how many were taken."""

    def __init__(self, rows: Iterable[Row[Any]]) -> None:
        self._rows = rows
        self.number = 0

    def __iter__(self) -> Iterator[Row[Any]]:
        for row in self._rows:
            self.number += 1
            yield row


class _Utf8:
    """What the CSV writer writes to: UTF-8, whatever the locale says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def _write_csv(file: _Utf8, rows: Iterable[Row[Any]], layout: Layout) -> None:
    writer = csv.writer(file)
    writer.writerow([_safe(title) for title in layout.titles])
    for row in rows:
        writer.writerow([_safe(value) for value in layout.flat(row)])


# A cell that begins like this is a formula to a spreadsheet; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def _safe(value: Any) -> Any:
    """Keep a spreadsheet from running what a file name or a label says; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(_FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    return text[0] in "+-" and text.isascii() and text[1:].replace(".", "", 1).isdecimal()


@contextmanager
def _destination(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(path) as file:
        yield file
