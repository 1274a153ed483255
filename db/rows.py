"""Rows of `results`, as tuples in the table's column order: built once per image, so kept plain."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from core.types import Classified, ResultStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from core.types import Outcome


class Rows(NamedTuple):
    """What all rows of one chunk share."""

    job_id: int
    chunk_id: int
    model: str
    worker: str | None
    at: Any
    #: Attempts by position, before this one; missing means none.
    before: Mapping[int, int] = MappingProxyType({})


def moment(connection: Connection, at: datetime) -> Any:
    """Return a moment as the driver stores it (SQLite: text; see `db.clock`)."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f") if connection.dialect.name == "sqlite" else at


def result_rows(
    shared: Rows,
    positions: Sequence[int],
    uris: Sequence[str],
    extra: Sequence[Any] | None,
    outcomes: Iterable[Outcome],
) -> list[tuple[Any, ...]]:
    """Return one row per outcome, in the order of the positions."""
    extras = [None] * len(uris) if extra is None else [_json(columns) for columns in extra]
    before = shared.before.get
    return [
        (
            shared.job_id, position, shared.chunk_id, storable(uri), *_outcome(outcome), columns,
            shared.model, shared.worker, shared.at, before(position, 0) + 1,
        )
        for position, uri, columns, outcome in zip(positions, uris, extras, outcomes, strict=True)
    ]  # fmt: skip


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL or UTF-8 refuse: a refused row is an image without one."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _outcome(outcome: Outcome) -> tuple[Any, ...]:
    """Return the columns from `status` to `content_hash`."""
    if not isinstance(outcome, Classified):
        failed = ResultStatus.FAILED.value
        code = outcome.code.value
        return (failed, None, None, None, None, code, outcome.detail, None, None, None)
    best = outcome.predictions[0]
    # Six significant digits: what float32 arithmetic is good for, and a third of the bytes.
    ranks = ",".join(
        f"[{p.class_index},{json.dumps(p.label)},{p.score:.6g}]" for p in outcome.predictions
    )
    return (
        ResultStatus.OK.value, best.class_index, storable(best.label), float(f"{best.score:.6g}"),
        f"[{ranks}]", None, None, outcome.width, outcome.height, outcome.content_hash,
    )  # fmt: skip


def _json(columns: Any) -> str | None:
    return None if columns is None else json.dumps(columns)
