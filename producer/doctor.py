"""Doctor: is everything there, and does work that waits also move?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.app import BROKER_ERRORS, broker_error, make_app
from core.errors import ClassyardError, ModelError
from core.modelfiles import check_files
from core.modelspec import model_names, read_model
from db import queries, workers
from db.migrate import require_schema
from db.session import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings
    from db.session import Database

#: Releases that mend the Lua faults of 2025 (CVE-2025-49844), per series.
SAFE_REDIS = {6: (6, 2, 20), 7: (7, 4, 6), 8: (8, 2, 2)}
#: Seconds without a finished chunk, though chunks wait and workers live, that mean standstill.
STANDSTILL = 600


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool
    subject: str
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; never raises for what is wrong, but reports it."""
    return [*_database(settings), *_redis(settings), *_models(settings)]


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        database = open_database(settings.database)
        require_schema(database)
    except ClassyardError as error:
        yield Finding(False, "database", str(error))
        return
    yield Finding(True, "database", database.engine.url.render_as_string(hide_password=True))
    yield from _workers(database, settings)
    database.close()


def _workers(database: Database, settings: Settings) -> Iterator[Finding]:
    live = database.read(workers.live_workers, settings.dead_after)
    waiting, idle_seconds = database.read(queries.standstill)
    slots = sum(worker.info.slots for worker in live)
    said = f"{len(live)} live with {slots} slots; {waiting} chunks wait"
    if not live:
        yield Finding(waiting == 0, "workers", f"{said}: start one with 'classyard worker'")
    elif waiting and idle_seconds is not None and idle_seconds > STANDSTILL:
        yield Finding(
            False,
            "workers",
            f"{said}, but none was finished for {idle_seconds:.0f} s: restart them",
        )
    else:
        yield Finding(True, "workers", said)


def _redis(settings: Settings) -> Iterator[Finding]:
    app = make_app(settings, patient=False)
    try:
        with app.connection_for_write() as connection:
            client = connection.default_channel.client
            version = str(client.info("server")["redis_version"])
    except BROKER_ERRORS as error:
        hint = "" if settings.broker_url else " ('classyard up' starts the embedded one)"
        yield Finding(False, "redis", f"{broker_error('does not answer', error)}{hint}")
        return
    finally:
        app.close()
    found = tuple(int(part) for part in version.split(".")[:3])
    safe = SAFE_REDIS.get(found[0], (0,))
    private = not settings.broker_url
    yield Finding(
        private or found >= safe,
        "redis",
        f"{version}" + (" (embedded, on a private socket)" if private else ""),
    )


def _models(settings: Settings) -> Iterator[Finding]:
    for name in model_names(settings.models_path):
        try:
            spec = read_model(name, settings.models_path)
            check_files(spec, weights_needed=False)
        except ModelError as error:
            yield Finding(False, "model", str(error))
            continue
        there = spec.weights.is_file()
        yield Finding(True, "model", f"{name}" if there else f"{name} (no weights here)")
