"""The database's clock, portable: hosts' clocks disagree, so no time in SQL comes from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class now(GenericFunction[datetime]):
    """The moment of the statement, in UTC."""

    type = DateTime(timezone=True)
    name = "classyard_now"
    inherit_cache = True


class seconds_from_now(GenericFunction[datetime]):
    """The moment `seconds` after (or, negative, before) the statement."""

    type = DateTime(timezone=True)
    name = "classyard_seconds_from_now"
    inherit_cache = True


class seconds_between(GenericFunction[float]):
    """Seconds from the first moment to the second, as a float."""

    type = Float()
    name = "classyard_seconds_between"
    inherit_cache = True


# SQLite keeps times as text. Six decimals, as SQLAlchemy writes them, so that text order is time order.
_SQLITE = "strftime('%Y-%m-%d %H:%M:%f', 'now'{}) || '000'"


@compiles(now, "sqlite")
def _now_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return f"({_SQLITE.format('')})"


@compiles(now, "postgresql")
def _now_postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    # now() would be the start of the transaction: too old after a wait for a lock.
    return "clock_timestamp()"


@compiles(seconds_from_now, "sqlite")
def _from_now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"({_SQLITE.format(f', {seconds} || {chr(39)} seconds{chr(39)}')})"


@compiles(seconds_from_now, "postgresql")
def _from_now_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"


@compiles(seconds_between, "sqlite")
def _between_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(part, **kw) for part in element.clauses)
    return f"((julianday({end}) - julianday({start})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _between_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    start, end = (compiler.process(part, **kw) for part in element.clauses)
    return f"EXTRACT(EPOCH FROM ({end} - {start}))::float8"
