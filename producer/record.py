"""The database alone: reading what is recorded needs no Redis."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from db.migrate import migrate, require_schema
from db.session import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings
    from db.session import Database


@contextmanager
def open_record(settings: Settings) -> Iterator[Database]:
    """Open the database.

    The one in HOME is brought to this version's schema; another one must have been migrated by
    whoever owns it.

    Raises:
        ClassyardError: one line that says what is missing.
    """
    database = open_database(settings.database)
    try:
        if settings.database_url:
            require_schema(database)
        else:
            migrate(database)
        yield database
    finally:
        database.close()
