"""Which database errors are worth a second try, and how long to wait before it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg.errors
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from db import session
from db.session import LONGEST_WAIT, TRIES, backoff, is_transient, open_database


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.SerializationFailure(), True),
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.ConnectionFailure(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.UndefinedTable(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_tried_again(error: Exception, again: bool) -> None:
    kind = IntegrityError if isinstance(error, psycopg.IntegrityError) else OperationalError
    assert is_transient(kind("", {}, error)) == again


def test_waits_grow_with_a_cap() -> None:
    for attempt in range(1, 20):
        longest = max(backoff(attempt) for _ in range(50))
        assert 0 <= longest <= min(LONGEST_WAIT, 0.1 * 2**attempt)


def busy() -> DBAPIError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorname = "SQLITE_BUSY"
    return OperationalError("", {}, error)


def test_a_whole_transaction_is_tried_again_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "backoff", lambda _: 0.0)
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    database.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER)")))
    failures = [busy(), busy()]

    def work(connection: object) -> str:
        connection.execute(text("INSERT INTO t VALUES (1)"))  # type: ignore[attr-defined]
        if failures:
            raise failures.pop()
        return "done"

    assert database.write(work) == "done"
    assert database.read(lambda c: c.execute(text("SELECT count(*) FROM t")).scalar_one()) == 1
    failures += [busy() for _ in range(TRIES)]
    with pytest.raises(OperationalError):
        database.write(work)
    assert failures == []
    database.close()


def test_an_error_of_ours_is_not_tried_again(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    calls = []

    def work(_: object) -> None:
        calls.append(1)
        raise KeyError("ours")

    with pytest.raises(KeyError):
        database.write(work)
    assert calls == [1]
    database.close()
