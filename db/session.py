"""Transactions: the one way to read and the one way to write."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from core.errors import DatabaseError
from db.connect import postgresql_engine, sqlite_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

T = TypeVar("T")
P = ParamSpec("P")

#: Tries of one transaction; with the waits below about 20 s in all, then the sweep takes over.
TRIES: Final = 6
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 10.0
#: PostgreSQL errors that a second run of the whole transaction can cure: serialization, deadlock,
#: lock time-out, server stopping or starting, no connections or disk space left.
TRANSIENT_STATES: Final = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08", "53")
#: SQLite's: locked, disk full or failing.
TRANSIENT_NAMES: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")


class Database:
    """A database that runs functions of a connection as whole transactions.

    All methods run the function again when the database was busy or went away; it must therefore
    do nothing that a rollback does not undo. An error during COMMIT leaves its outcome unknown:
    every writing statement of ours is guarded so that a second run finds its own work done.
    """

    def __init__(self, engine: Engine, tries: int = TRIES) -> None:
        self.engine = engine
        self._tries = tries

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(connection, ...)` in one writing transaction and return what it returns."""
        return self._retrying(lambda c: work(c, *args, **kwargs), immediate=True)

    def write_one(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(connection, ...)`, which executes one writing statement and no more.

        On PostgreSQL it needs no BEGIN and no COMMIT around it: two round trips less.
        """
        return self._retrying(lambda c: work(c, *args, **kwargs), immediate=True, alone=True)

    def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work(connection, ...)`, which only reads, and return what it returns.

        Each statement sees what was committed before it; on SQLite all see the same.
        """
        return self._retrying(lambda c: work(c, *args, **kwargs), immediate=False, alone=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hold one reading transaction open, to stream what was sorted. Not retried."""
        with self.engine.connect() as connection:
            chosen = connection.execution_options(classyard_immediate=False)
            with _sorting_on_disk(chosen), chosen.begin():
                yield chosen

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    @contextmanager
    def _begin(self, *, immediate: bool, alone: bool) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            chosen = connection.execution_options(classyard_immediate=immediate)
            if alone and self.dialect == "postgresql":
                chosen = chosen.execution_options(isolation_level="AUTOCOMMIT")
            with chosen.begin():
                yield chosen

    def _retrying(
        self, work: Callable[[Connection], T], *, immediate: bool, alone: bool = False
    ) -> T:
        for attempt in range(1, self._tries + 1):
            try:
                with self._begin(immediate=immediate, alone=alone) as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == self._tries or not is_transient(error):
                    raise
                time.sleep(backoff(attempt))
        raise AssertionError("unreachable")


@contextmanager
def _sorting_on_disk(connection: Connection) -> Iterator[None]:
    """Let SQLite sort millions of rows outside memory."""
    driver = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or driver is None:
        yield
        return
    driver.execute("PRAGMA temp_store=FILE")  # refused inside a transaction
    try:
        yield
    finally:
        driver.execute("PRAGMA temp_store=MEMORY")


def backoff(attempt: int) -> float:
    """Return seconds to wait after the given attempt (1, 2, ...): doubled, capped, full jitter."""
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))  # noqa: S311


def is_transient(error: DBAPIError) -> bool:
    """Whether the same transaction may well succeed when run again."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(TRANSIENT_STATES)
    name = getattr(error.orig, "sqlite_errorname", "")
    if name:
        return str(name).startswith(TRANSIENT_NAMES)
    # psycopg reports a refused or lost connection without a state.
    return isinstance(error, OperationalError)


def open_database(url: str, *, forks: bool = False, tries: int = TRIES) -> Database:
    """Open the database at a SQLAlchemy URL (nothing is sent yet).

    `forks` is for a process that does: its connections are not its children's. One of the `tries` of
    a transaction is enough for who comes again by itself and has other things to do.

    Raises:
        DatabaseError: if the URL is neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseError("CLASSYARD_DATABASE_URL is not a SQLAlchemy URL") from error
    if "@" in (parsed.host or ""):
        # What seems to be the host is the rest of the password, and hosts are shown in errors.
        raise DatabaseError("CLASSYARD_DATABASE_URL: write an @ in the password as %40")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return Database(sqlite_engine(url, parsed.database, forks=forks), tries)
    if backend == "postgresql":
        engine = postgresql_engine(parsed.set(drivername="postgresql+psycopg"), forks=forks)
        return Database(engine, tries)
    raise DatabaseError(f"CLASSYARD_DATABASE_URL: '{backend}' is neither sqlite nor postgresql")
