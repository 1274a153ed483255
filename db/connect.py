"""SQLAlchemy's engines: how a connection to either database is made, set up, and looked after."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import NullPool, QueuePool

from core.errors import DatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: Seconds that a statement waits for SQLite's single writer.
BUSY_SECONDS: Final = 30
#: Seconds after which an idle connection is asked whether it still lives.
ASK_AFTER: Final = 10.0
#: Milliseconds without an answer of the network after which a process that forks gives up a connection.
IMPATIENT_MILLISECONDS: Final = 10_000

#: Plans are made anew each time: a kept one would be that of the first chunks, whose tables were small.
POSTGRESQL_OPTIONS: Final = (
    "-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
    " -c timezone=UTC -c plan_cache_mode=force_custom_plan"
)


def sqlite_engine(url: str, path: str | None, *, forks: bool) -> Engine:
    """Return the engine for a file, which is made if need be.

    Raises:
        DatabaseError: if it cannot be made.
    """
    if not path or path == ":memory:":
        raise DatabaseError("CLASSYARD_DATABASE_URL: SQLite needs a file, as in sqlite:///yard.db")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not Path(path).exists():
            Path(path).touch(mode=0o600)  # SQLite gives its side files the same permissions
    except OSError as error:
        raise DatabaseError(f"cannot make the database {path}: {error.strerror}") from error
    engine = create_engine(
        url,
        hide_parameters=True,  # they hold URIs, and errors are logged
        # A connection of SQLite's must not even be closed on the other side of a fork.
        poolclass=NullPool if forks else QueuePool,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: a read that turns into a write after a
        # deferred BEGIN fails at once with "database is locked", whatever the time-out.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_SECONDS * 1000}",
            "journal_mode=WAL",
            "wal_autocheckpoint=8000",  # 32 MB: pages of the indexes are written once for many chunks
            "synchronous=NORMAL",  # may lose the last commits on power loss: those chunks run again
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-32000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("classyard_immediate", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def postgresql_engine(url: Any, *, forks: bool) -> Engine:
    """Return the engine for a server."""
    # A server that vanished without a word would hold up the signs of life for a quarter of an hour.
    impatient = {"tcp_user_timeout": IMPATIENT_MILLISECONDS} if forks else {}
    engine = create_engine(
        url,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=2,
        max_overflow=2,
        pool_timeout=30,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": 5,
            "keepalives_idle": 30,
            "application_name": "classyard",
            "client_encoding": "utf8",  # else that of a database which has none, and all texts are bytes
            "options": POSTGRESQL_OPTIONS,
            **impatient,
        },
    )
    _ask_the_idle(engine)
    if forks:
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _ask_the_idle(engine: Engine) -> None:
    """Replace a connection that died while nobody used it; one just used is not asked: it costs a round trip.

    Should that one be dead after all, the transaction fails and is run again.
    """

    @event.listens_for(engine, "checkin")
    def _checkin(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _checkout(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("idle_since", time.monotonic()) < ASK_AFTER:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error
