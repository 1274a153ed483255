"""Parquet manifests: the column that names the image, and the others as further columns."""

from __future__ import annotations

import base64
import math
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from core.errors import ManifestError, UsageError
from core.types import printable
from producer.sources.block import Block, Extra
from producer.sources.extras import EXTRA_LIMIT, checked_extra
from producer.sources.manifests import NAMES
from producer.sources.text import wrong
from producer.sources.uris import fault_of, located

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS: Final = 1024


def read_parquet(stream: BinaryIO, name: str, folder: str) -> Iterator[Block]:
    """Read a Parquet table in slices; a line is a row here, counted from 1."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(
            f"{name}: Parquet needs one more package: pip install 'classyard[parquet]'"
        ) from None
    try:
        with ParquetFile(stream) as table:
            column = _column(name, table.schema_arrow.names)
            row = 1
            for batch in table.iter_batches(batch_size=_ROWS):
                yield _block(_rows(batch, row, name), column, row, name, folder)
                row += batch.num_rows
    except (arrow.ArrowException, OSError) as error:
        raise ManifestError(
            f"{name}: no Parquet file, or damaged: {type(error).__name__}"
        ) from error


def _column(name: str, columns: list[str]) -> str:
    column = next((one for one in NAMES if one in columns), None)
    if column is None:
        raise _no_column(name, columns)
    twice = next((one for one in columns if columns.count(one) > 1), None)
    if twice is not None:
        raise ManifestError(f"{name}: the column {printable(twice, 80)!r} is there twice")
    return column


def _rows(batch: Any, first: int, name: str) -> list[dict[str, Any]]:
    """Return a slice as Python's values, whose moments know no nanoseconds and not every year."""
    import pyarrow as arrow

    for at, field in enumerate(batch.schema):
        if str(field.type).startswith(("timestamp[ns", "duration[ns")):
            zone = [field.type.tz] if arrow.types.is_timestamp(field.type) else []
            kind = arrow.timestamp("us", *zone) if zone else arrow.duration("us")
            batch = batch.set_column(at, field.name, batch.column(at).cast(kind, safe=False))
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError, LookupError) as error:
        last = first + batch.num_rows - 1
        what = f"a moment that cannot be kept, in this row or one up to {last}"
        raise wrong(name, first, what) from error
    return rows


def _no_column(name: str, columns: list[str]) -> ManifestError:
    if "image" in columns:
        return ManifestError(
            f"{name}: the pictures are inside this table (column image); Classyard reads "
            "tables that name them in a column uri"
        )
    return ManifestError(f"{name}: no column uri; there are: {', '.join(columns)[:80]}")


def _block(rows: list[dict[str, Any]], column: str, first: int, name: str, folder: str) -> Block:
    uris: list[str] = []
    extras: list[Extra | None] = []
    for line, row in enumerate(rows, first):
        uri = row.pop(column)
        if not isinstance(uri, str):
            raise wrong(name, line, f'"{column}" is not a text')
        if fault := fault_of(uri := uri.strip()):
            raise wrong(name, line, fault)
        uris.append(uri)
        extra = {key: _plain(value) for key, value in row.items()}
        extras.append(checked_extra(extra, EXTRA_LIMIT, name, line))
    return Block(located(uris, folder), extras if any(extras) else None)


def _plain(value: Any) -> Any:
    """Return `value` as JSON can keep it: moments as ISO 8601, bytes as base64, NaN as null."""
    plain = value
    match value:
        case float():
            plain = value if math.isfinite(value) else None
        case dict():
            plain = {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            plain = [_plain(one) for one in value]
        case bytes():
            plain = base64.b64encode(value).decode()
        case date() | time():
            plain = value.isoformat()
        case timedelta():
            plain = value.total_seconds()
        case Decimal():
            plain = str(value)
    return plain
