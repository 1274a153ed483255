"""Doctor: is everything there, and does work that waits also move?"""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from broker.app import BROKER_ERRORS, broker_error, make_app
from core.errors import ClassyardError, ModelError
from core.modelfiles import check_files
from core.modelspec import read_model, served_names
from core.settings import unknown_settings
from db import health, queries, workers
from db.migrate import require_schema
from db.session import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.settings import Settings
    from db.session import Database
    from db.workers import LiveWorker

#: First releases of each series that mend the Lua faults of 2025 (CVE-2025-49844), oldest first.
SAFE_REDIS = ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 2, 2))
#: Schemes that need a package of their own.
EXTRAS = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
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
    settings_found = [Finding(False, "setting", text) for text in unknown_settings()]
    return [
        *settings_found,
        *_database(settings),
        *_redis(settings),
        *_extras(settings),
        *_models(settings),
    ]


def examine_worker(settings: Settings) -> Finding:
    """Look at the workers of this host only, by what they get done: the health check of a container."""
    try:
        with closing(open_database(settings.database, tries=1)) as database:
            return _own_workers(database, settings)
    except ClassyardError as error:
        return Finding(False, "worker", str(error))
    except DBAPIError as error:
        return Finding(False, "worker", f"the database failed: {first_line(error)}")


def _own_workers(database: Database, settings: Settings) -> Finding:
    host = socket.gethostname()
    here = database.read(workers.live_workers, settings.dead_after, host=host)
    if not here:
        said = f"none of host {host} gave a sign of life for {settings.dead_after:g} s"
        return Finding(False, "worker", said)
    said = f"{len(here)} of host {host} live and take what waits"
    return _progress(database, here, settings) or Finding(True, "worker", said)


def first_line(error: DBAPIError) -> str:
    """Return what the driver said, on one line."""
    return (str(error.orig).splitlines() or [type(error.orig).__name__])[0]


def _progress(database: Database, live: Sequence[LiveWorker], settings: Settings) -> Finding | None:
    """Find a worker that lives and takes nothing, though chunks wait."""
    seconds = 2 * (settings.lost_after + settings.sweep_interval)
    for worker in live:
        if database.read(health.takes_nothing, worker, seconds):
            return Finding(
                False,
                "worker" if len(live) == 1 else "workers",
                f"{worker.info.id} lives but took no chunk for {seconds:g} s, though chunks wait: "
                "restart it",
            )
    return None


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        with closing(open_database(settings.database, tries=1)) as database:
            require_schema(database)
            where = database.engine.url.render_as_string(hide_password=True)
            yield Finding(True, "database", where)
            yield from _workers(database, settings)
    except ClassyardError as error:
        yield Finding(False, "database", str(error))


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
        yield _progress(database, live, settings) or Finding(True, "workers", said)


def _redis(settings: Settings) -> Iterator[Finding]:
    app = make_app(settings, patient=False)
    try:
        with app.connection_for_write() as connection:
            client = connection.default_channel.client
            server = client.info("server")
    except BROKER_ERRORS as error:
        hint = "" if settings.broker_url else " ('classyard up' starts the embedded one)"
        yield Finding(False, "redis", f"{broker_error('does not answer', error)}{hint}")
        return
    finally:
        app.close()
    version = str(server["redis_version"])
    least = safe_release(version)
    if not settings.broker_url:
        yield Finding(True, "redis", f"{version} (embedded, on a private socket)")
    elif "valkey_version" in server:  # which numbers its own releases, and names an old Redis
        yield Finding(True, "redis", f"Valkey {server['valkey_version']}")
    else:
        holes = f" has known security holes: {least} or newer" if least else ""
        yield Finding(not least, "redis", f"{version}{holes}")


def safe_release(version: str) -> str:
    """Return the release that mends what `version` of Redis is open to; nothing if it is not."""
    found = tuple(int(part) for part in version.split(".")[:3])
    for safe in SAFE_REDIS:
        if found[:2] <= safe[:2]:
            return "" if found >= safe else ".".join(map(str, safe))
    return ""


def _extras(settings: Settings) -> Iterator[Finding]:
    """Look for the packages that a setting needs and a plain installation does not have."""
    wanted = [(scheme, EXTRAS[scheme]) for scheme in settings.schemes if scheme in EXTRAS]
    if "HEIF" in settings.image_limits.formats and find_spec("PIL"):  # else no worker runs here
        wanted.append(("heic", "pillow_heif"))
    for extra, package in wanted:
        there = find_spec(package) is not None
        said = package if there else f"{package} is missing: pip install 'classyard[{extra}]'"
        yield Finding(there, extra, said)


def _models(settings: Settings) -> Iterator[Finding]:
    for name in served_names(settings.models_path):
        try:
            spec = read_model(name, settings.models_path)
            check_files(spec, weights_needed=False)
        except ModelError as error:
            yield Finding(False, "model", str(error))
            continue
        there = spec.weights.exists()
        yield Finding(True, "model", f"{name}" if there else f"{name} (no weights here)")
