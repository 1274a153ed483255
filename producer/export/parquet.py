"""Parquet: typed columns, the top-k nested. The only file that knows pyarrow."""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from core.errors import ClassyardError
from producer.export.layout import COLUMNS, EMBEDDING, REST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

    from producer.export.layout import Layout

#: Rows turned into columns at a time, and bytes of columns gathered into one row group.
ROWS: Final = 1000
GROUP_BYTES: Final = 16 * 2**20


def write_parquet(file: BinaryIO, rows: Iterable[Row[Any]], layout: Layout) -> None:
    """Write rows as Parquet, a row group in memory at a time.

    Raises:
        ClassyardError: if pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ClassyardError(
            "Parquet needs pyarrow: pip install 'classyard[parquet]', or export .csv or .jsonl"
        ) from error
    # The default pool keeps what it frees; a stream's memory must not grow with its length.
    pool = pa.system_memory_pool()
    schema = _schema(pa, layout)
    stream = iter(rows)
    with pq.ParquetWriter(file, schema, compression="zstd", memory_pool=pool) as writer:
        batches: list[Any] = []
        while page := list(islice(stream, ROWS)):
            arrays = [
                pa.array(values, field.type, memory_pool=pool)
                for values, field in zip(_columns(page, layout), schema, strict=True)
            ]
            batches.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            if sum(batch.nbytes for batch in batches) >= GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(batches))
                batches = []
        if batches:
            writer.write_table(pa.Table.from_batches(batches))


def _schema(pa: Any, layout: Layout) -> Any:
    types = {
        "position": pa.int64(), "class_index": pa.int32(), "score": pa.float64(),
        "width": pa.int32(), "height": pa.int32(), "attempts": pa.int32(),
        "classified_at": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    prediction = pa.struct(
        [("class_index", pa.int32()), ("label", pa.string()), ("score", pa.float64())]
    )
    own = [(name, types.get(name, pa.string())) for name in COLUMNS]
    extras = [(title, pa.string()) for title in (*layout.columns, REST)]
    vector = [(EMBEDDING, pa.list_(pa.float32()))] if layout.vectors else []
    return pa.schema([*own, ("predictions", pa.list_(prediction)), *vector, *extras])


def _columns(page: Sequence[Row[Any]], layout: Layout) -> list[Sequence[Any]]:
    names = ("class_index", "label", "score")
    predictions = [
        None
        if row.predictions is None
        else [dict(zip(names, prediction, strict=True)) for prediction in row.predictions]
        for row in page
    ]
    own = [[getattr(row, name) for row in page] for name in COLUMNS]
    extras = zip(*(layout.extra_texts(row) for row in page), strict=True)
    if layout.vectors is None:
        return [*own, predictions, *extras]
    vectors = layout.vectors([row.position for row in page])
    numbers = [_numbers(vectors.get(row.position)) for row in page]
    return [*own, predictions, numbers, *extras]


def _numbers(vector: bytes | None) -> Sequence[float] | None:
    """Return the float16 numbers of an embedding; no NumPy: it is not there on a producer."""
    return None if vector is None else struct.unpack(f"<{len(vector) // 2}e", vector)
