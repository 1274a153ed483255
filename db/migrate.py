"""Bring a database to this version's schema, or say that it is not there.

Alembic is imported only when there is something to migrate: every command looks at the revision.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from core.errors import DatabaseError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from db.session import Database

#: What to do about what SQLite says, by the name of its error.
ADVICE = {
    "SQLITE_NOTADB": ": restore a backup, or move the file away",
    "SQLITE_CORRUPT": ": restore a backup, or move the file away",
    "SQLITE_IOERR": ": is the disk full?",
}
_MIGRATIONS = Path(__file__).parent / "migrations"
#: Any number; two programs that migrate at once must use the same.
_LOCK = 0x636C617373


def migrate(database: Database) -> str:
    """Apply all missing migrations in one transaction; return the revision reached.

    Safe when several processes start at once: one migrates, the others wait and find it done.

    Raises:
        DatabaseError: if the database cannot be reached or is newer than this version.
    """
    if revision(database) == head():
        return head()
    from alembic import command

    config = _config()

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    _check_known(database, config)
    try:
        database.write(upgrade)
    except DBAPIError as error:
        raise unreachable(database, error) from error
    return head()


def require_schema(database: Database) -> None:
    """Refuse to work on a database that was not migrated.

    Raises:
        DatabaseError: saying which command mends it.
    """
    found = revision(database)
    if found and found > head():
        raise newer(found)
    if found != head():
        raise DatabaseError(
            f"the database is at revision {found or 'none'}, this version needs {head()}: "
            "run 'classyard migrate'"
        )


def revision(database: Database) -> str | None:
    """Return the revision the database is at, or None.

    Raises:
        DatabaseError: if it cannot be reached.
    """
    try:
        return database.read(_revision)
    except DBAPIError as error:
        raise unreachable(database, error) from error


def head() -> str:
    """Return the revision that this version of the code needs: its last migration's number."""
    return max(path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/[0-9]*.py"))


def unreachable(database: Database, error: DBAPIError) -> DatabaseError:
    """Return the one-line error for a database that does not answer (the password is hidden)."""
    where = database.engine.url.render_as_string(hide_password=True)
    reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"
    name = getattr(error.orig, "sqlite_errorname", "")
    advice = next((text for start, text in ADVICE.items() if name.startswith(start)), "")
    return DatabaseError(f"cannot use the database {where}: {reason}{advice}")


def newer(found: str) -> DatabaseError:
    """Return the one-line error for a database that a later version has migrated."""
    return DatabaseError(
        f"the database is at revision {found}, newer than this version knows: "
        "use the Classyard that migrated it, or a later one"
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version"))
    return found.scalar_one_or_none()


def _check_known(database: Database, config: Config) -> None:
    from alembic.script import ScriptDirectory

    found = revision(database)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found and found not in known:
        raise newer(found)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
