"""Folders of Hugging Face `datasets`: a table `metadata` beside the images says more about each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import UsageError
from producer.sources.block import Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from producer.sources.block import Extra

    Reader = Callable[[BinaryIO, str, str], Iterator[Block]]

#: Names of the table, in the order in which they are looked for.
TABLES: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
#: Rows that are held in memory while the folder is read.
MOST_ROWS: Final = 1_000_000
_ROWS: Final = 1024


def tables_of(folder: Path) -> list[Path]:
    """Return the tables of a folder: its own, or those of the splits one level below."""
    for place in ([folder], sorted(_folders(folder))):
        found = [table for inner in place for name in TABLES if (table := inner / name).is_file()]
        if found:
            return found
    return []


def joined(
    blocks: Iterator[Block], tables: list[Path], readers: Mapping[str, Reader]
) -> Iterator[Block]:
    """Give the images of `blocks` the columns of their row; a row without an image comes last.

    Raises:
        UsageError: the tables have too many rows to be held.
        ManifestError: a table cannot be read.
    """
    columns = _columns(tables, readers)
    for block in blocks:
        extras = [columns.pop(uri, None) for uri in block.uris]
        yield Block(block.uris, extras if any(extras) else None)
    # What the table names and the folder does not have gets a row that says so.
    left = list(columns)
    for start in range(0, len(left), _ROWS):
        part = left[start : start + _ROWS]
        yield Block(part, [columns[uri] for uri in part])


def _columns(tables: list[Path], readers: Mapping[str, Reader]) -> dict[str, Extra | None]:
    found: dict[str, Extra | None] = {}
    for table in tables:
        with table.open("rb") as stream:
            for block in readers[table.suffix](stream, str(table), str(table.parent)):
                extras = block.extras or [None] * len(block.uris)
                found.update(zip(block.uris, extras, strict=True))
                if len(found) > MOST_ROWS:
                    raise UsageError(
                        f"{table} has more than {MOST_ROWS:,} rows: name the table itself, "
                        "then it is read row by row"
                    )
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return [inner for inner in folder.iterdir() if inner.is_dir() and inner.name[0] != "."]
    except OSError:
        return []  # reading the images will say so
