"""The verbs of a watched folder: which files are new, whose batch they are, which job that became."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import now
from db.models import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection


def known(connection: Connection, versions: Sequence[str]) -> set[str]:
    """Return those of `versions` that were claimed before, by whichever watcher."""
    found = connection.execute(select(Arrival.version).where(Arrival.version.in_(versions)))
    return set(found.scalars())


def claim(connection: Connection, batch: str, files: Mapping[str, str]) -> None:
    """Make files (version to URI) the batch's own; what another watcher has claimed stays there."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(Arrival).on_conflict_do_nothing(index_elements=["version"])
    rows = [{"version": version, "uri": uri, "batch": batch} for version, uri in files.items()]
    if rows:
        connection.execute(statement.values(seen_at=now()), rows)


def unsubmitted(connection: Connection, watch: str) -> list[str]:
    """Return the batches of a watch that have no job yet, whoever claimed them."""
    found = connection.execute(
        select(Arrival.batch)
        .where(Arrival.job_id.is_(None), Arrival.batch.startswith(f"{watch}-"))
        .distinct()
        .order_by(Arrival.batch)
    )
    return list(found.scalars())


def uris_of(connection: Connection, batch: str) -> list[str]:
    """Return the files of a batch, always in the same order."""
    found = connection.execute(
        select(Arrival.uri).where(Arrival.batch == batch, Arrival.job_id.is_(None))
    )
    return sorted(found.scalars())


def submitted(connection: Connection, batch: str, job_id: int) -> None:
    """Note the job that a batch became."""
    connection.execute(
        update(Arrival)
        .where(Arrival.batch == batch, Arrival.job_id.is_(None))
        .values(job_id=job_id)
    )
