"""The fastest safe bulk INSERT of each database (figures in docs/benchmarks.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Column, Connection, Table


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[tuple[Any, ...]],
    columns: Sequence[Column[Any]] | None = None,
) -> None:
    """Insert `rows`: values of `columns` (default: all, in the table's order); JSON as text."""
    if not rows:
        return
    chosen = list(columns or table.columns)
    names = ", ".join(column.name for column in chosen)
    if connection.dialect.name == "postgresql":
        driver = connection.connection.driver_connection
        assert driver is not None
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)
        return
    marks = ", ".join("?" * len(chosen))
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) VALUES ({marks})",  # noqa: S608  (our own names)
        list(rows),
    )
