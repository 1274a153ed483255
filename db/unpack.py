"""What SQL can take out of the JSON columns, portable: a further column as text, the margin."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class extra_text(GenericFunction[str]):
    """The value of one of the caller's further columns, as text; NULL if the row has none."""

    type = Text()
    name = "classyard_extra_text"
    inherit_cache = True


class margin(GenericFunction[float]):
    """How far the best score is above the second best; NULL if there is no second."""

    type = Float()
    name = "classyard_margin"
    inherit_cache = True


@compiles(extra_text, "sqlite")
def _extra_text_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, name = (compiler.process(part, **kw) for part in element.clauses)
    # Not json_extract: before 3.45 its paths miss keys that were written with \u escapes.
    return (
        "(SELECT CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' "  # noqa: S608 - ours
        f"ELSE CAST(value AS TEXT) END FROM json_each({column}) WHERE key = {name})"
    )


@compiles(extra_text, "postgresql")
def _extra_text_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    column, name = (compiler.process(part, **kw) for part in element.clauses)
    return f"({column} ->> CAST({name} AS text))"


@compiles(margin, "sqlite")
def _margin_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    (column,) = (compiler.process(part, **kw) for part in element.clauses)
    return f"(json_extract({column}, '$[0][2]') - json_extract({column}, '$[1][2]'))"


@compiles(margin, "postgresql")
def _margin_postgresql(element: Any, compiler: Any, **kw: Any) -> str:
    (column,) = (compiler.process(part, **kw) for part in element.clauses)
    return f"(({column}->0->>2)::float8 - ({column}->1->>2)::float8)"
