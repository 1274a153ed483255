"""The schema: reached from nothing, once, by whoever comes first; equal to what the code declares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import make_url, text

import db.migrate
from core.errors import DatabaseError
from db.migrate import head, migrate, require_schema, revision
from db.models import Base
from db.session import Database, open_database
from tests.support.record import Record, uris


def test_migrating_twice_changes_nothing_and_keeps_the_rows(database: Database) -> None:
    record = Record(database)
    job = record.job(uris(3))
    record.work_off(job)
    assert migrate(database) == head() == revision(database)
    require_schema(database)
    assert len(record.rows(job)) == 3


def test_the_last_file_is_the_head_of_one_line_of_migrations(database: Database) -> None:
    found = database.read(lambda c: MigrationContext.configure(c).get_current_revision())
    folder = Path(db.migrate.__file__).parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    assert [head()] == ScriptDirectory.from_config(config).get_heads() == [found]


def test_the_migrations_build_what_the_code_declares(database: Database) -> None:
    def differences(connection: object) -> list[object]:
        # Of another kind on each database: only the migrations declare them.
        others = ("ix_results_uri", "ix_results_content_hash")
        skipped = {"include_object": lambda _, name, *__: name not in others}
        context = MigrationContext.configure(connection, opts=skipped)
        return compare_metadata(context, Base.metadata)

    assert database.read(differences) == []


def test_an_empty_database_is_refused_with_the_command_that_mends_it(database_url: str) -> None:
    opened = open_database(database_url)
    with pytest.raises(DatabaseError, match=r"revision none.*run 'classyard migrate'"):
        require_schema(opened)
    opened.close()


def test_many_migrate_an_empty_database_at_once(database_url: str) -> None:
    def migrate_alone(_: int) -> str:
        opened = open_database(database_url)
        try:
            return migrate(opened)
        finally:
            opened.close()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(migrate_alone, range(4))) == [head()] * 4


def test_a_newer_database_is_left_alone(database: Database) -> None:
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    for refused in (migrate, require_schema):
        with pytest.raises(DatabaseError, match="9999"):
            refused(database)


def test_the_databases_refuse_words_that_are_not_ours(database: Database) -> None:
    record = Record(database)
    record.job(uris(1))
    for table in ("jobs", "chunks"):
        with pytest.raises(Exception, match=f"ck_{table}_status"):
            record.change(f"UPDATE {table} SET status = 'lost'")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://localhost/yard", "'mysql' is neither sqlite nor postgresql"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("not a url", "not a SQLAlchemy URL"),
    ],
)
def test_urls_that_name_no_database_of_ours(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said):
        open_database(url)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    opened = open_database("postgresql://me:secret@127.0.0.1:1/yard")
    with pytest.raises(DatabaseError, match="cannot use the database") as caught:
        revision(opened)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    opened.close()


def test_a_database_without_an_encoding_gives_texts_all_the_same(postgres_url: str) -> None:
    plain = make_url(postgres_url).set(drivername="postgresql")
    url = plain.set(database=f"{plain.database}_ascii")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as admin:
        named = sql.Identifier(str(url.database))
        how = "CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        admin.execute(sql.SQL(how).format(named))
        database = open_database(url.render_as_string(hide_password=False))
        try:
            migrate(database)
            record = Record(database)
            job = record.job(["file:///Käse.jpg"])
            record.work_off(job)
            assert [row.uri for row in record.rows(job)] == ["file:///Käse.jpg"]
        finally:
            database.close()
            admin.execute(sql.SQL("DROP DATABASE {}").format(named))
