"""docker-compose.yml, service by service: its very commands, users, environment and health checks.

There is no Docker here. Names of hosts become loopback, the secrets are those that deploy/secrets.sh
makes, and what a container takes away (root's rights, a writable file system) is taken away, too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from broker.embedded import _server_binary
from tests.support.compose import SERVICES, STAGES, Container
from tests.support.ports import free_port
from tests.support.postgres import programs
from tests.support.yard import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAMPLES = ROOT / "producer" / "samples" / "digits"


def until(holds: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


class Machine:
    """The services of the file on this machine."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        self.ports = {
            name: str(free_port()) for name in ("redis", "sql", "flower", "yard", "own", "web")
        }
        self.prefix = f"t{uuid4().hex[:8]}"
        self.owner = make_url(database).set(drivername="postgresql")
        self.database = str(self.owner.database)
        subprocess.run(["sh", "deploy/secrets.sh", str(self.secrets)], cwd=ROOT, check=True)
        self.socket = self._socket()
        # As in the image: root's, so that nobody can write there but into the volume.
        (folder / "home" / "pictures").mkdir(parents=True)
        (folder / "home" / "pictures").chmod(0o777)

    def _socket(self) -> str:
        with psycopg.connect(self.owner.render_as_string(hide_password=False)) as connection:
            return connection.info.host

    @property
    def replaced(self) -> dict[str, str]:
        """What is called otherwise here than between containers."""
        return {
            "@redis:6379": f"@127.0.0.1:{self.ports['redis']}",
            "://classyard:": f"://{self.owner.username}:",
            "@postgres:5432/classyard": f"@127.0.0.1:{self.ports['sql']}/{self.database}",
            # Roles belong to the whole server, which other tests use at the same time.
            "classyard_worker": f"{self.prefix}_worker",
            "classyard_producer": f"{self.prefix}_producer",
            "classyard_reader": f"{self.prefix}_reader",
            "/run/secrets": str(self.secrets),
            "/etc/classyard/roles.sql": str(self.folder / "grants.sql"),
            ":5555/": f":{self.ports['flower']}/",
            ":9464/": f":{self.ports['yard']}/",
            "'127.0.0.1', 5550": f"'127.0.0.1', {self.ports['web']}",
            "/data": str(self.folder),
            "/var/lib/classyard": str(self.folder / "home"),
        }

    def container(self, name: str, **further: str) -> Container:
        own = {"CLASSYARD_FLOWER_PORT": self.ports["flower"]}
        own |= {"CLASSYARD_METRICS_PORT": self.ports["yard"]}
        own |= {"CLASSYARD_WEB_PORT": self.ports["web"], **further}
        return Container(name, self.secrets, self.replaced, self.folder, own)

    def redis(self) -> subprocess.Popen[bytes]:
        """Start the service `redis`, on loopback; wait for its health check."""
        text = SERVICES["redis"]["command"]
        for theirs, ours in self.replaced.items():
            text = text.replace(theirs, ours)
        program, *words = shlex.split(text)
        assert program == "redis-server"
        place = ["--port", self.ports["redis"], "--bind", "127.0.0.1"]
        server = subprocess.Popen([_server_binary(), *words, *place], stdout=subprocess.DEVNULL)
        kind, check = SERVICES["redis"]["healthcheck"]["test"]
        client = shutil.which("redis-cli") or str(Path(_server_binary()).parent / "redis-cli")
        assert kind == "CMD-SHELL"
        check = check.replace("redis-cli", f"{client} -p {self.ports['redis']}")
        until(lambda: subprocess.run(check, shell=True, check=False).returncode == 0, "Redis")
        return server

    def sql_over_tcp(self) -> subprocess.Popen[bytes]:
        """Offer the test's PostgreSQL on loopback: a user without rights cannot reach its socket."""
        words = f"127.0.0.1:{self.ports['sql']}={self.socket}/.s.PGSQL.5432"
        return subprocess.Popen([sys.executable, "-m", "tests.faults.relay", words], cwd=ROOT)

    def roles(self) -> None:
        """Run the service `roles`."""
        service = SERVICES["roles"]
        (self.folder / "grants.sql").write_text(self._named(ROOT / "deploy/sql/roles.sql"))
        (self.secrets / "roles.sql").chmod(0o600)
        (self.secrets / "roles.sql").write_text(self._named(self.secrets / "roles.sql"))
        (script,) = service["command"]
        for theirs, ours in {**self.replaced, "$$": "$"}.items():
            script = script.replace(theirs, ours)
        environment = {
            "PATH": f"{programs()}:{os.environ['PATH']}",
            "PGHOST": self.socket, "PGUSER": str(self.owner.username), "PGDATABASE": self.database,
        }  # fmt: skip
        assert set(service["environment"]) == {"PGHOST", "PGUSER", "PGDATABASE"}
        subprocess.run([*service["entrypoint"], script], env=environment, check=True)

    def _named(self, path: Path) -> str:
        return re.sub(r"classyard_(?=worker|producer|reader)", f"{self.prefix}_", path.read_text())

    def forget_roles(self) -> None:
        """Take the roles away again: they outlive their database."""
        with psycopg.connect(
            self.owner.render_as_string(hide_password=False), autocommit=True
        ) as admin:
            for role in ("worker", "producer", "reader"):
                admin.execute(f"DROP OWNED BY {self.prefix}_{role}".encode())
                admin.execute(f"DROP ROLE {self.prefix}_{role}".encode())


@pytest.fixture
def machine(postgres_url: str) -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="cy-compose-"))
    folder.chmod(0o755)
    machine = Machine(folder, postgres_url)
    if not Path(machine.socket).is_absolute():
        pytest.skip("the database server has no unix socket to pass on")
    running = [machine.sql_over_tcp()]
    try:
        running.append(machine.redis())
        yield machine
    finally:
        for process in running:
            process.terminate()
            process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def healthy(container: Container) -> bool:
    return container.run(container.health()).returncode == 0


def test_the_yard_of_the_compose_file_works(machine: Machine) -> None:
    pictures = machine.folder / "pictures"
    shutil.copytree(SAMPLES, pictures)
    migrate = machine.container("migrate")
    migrated = migrate.run(migrate.command())
    assert migrated.returncode == 0, migrated.stderr
    machine.roles()
    worker = machine.container(
        "worker", CLASSYARD_ENGINE="stub", CLASSYARD_CONCURRENCY="1", CLASSYARD_ROOTS=str(pictures),
        CLASSYARD_WORKER_METRICS_PORT=machine.ports["own"],
    )  # fmt: skip
    assert not healthy(worker), "no worker runs yet"
    running = {"worker": worker.start()}
    try:
        for name in ("flower", "metrics", "web"):
            running[name] = machine.container(name).start()
        until(lambda: healthy(worker), (machine.folder / "worker.log").read_text())
        _submit(machine, pictures)
        for name in ("flower", "metrics", "web"):
            until(lambda name=name: healthy(machine.container(name)), name)
        running["worker"].send_signal(signal.SIGTERM)
        assert running["worker"].wait(worker.stop_seconds()) == 0
        assert not healthy(worker)
        lines = (machine.folder / "worker.log").read_text().splitlines()
        told = [json.loads(line) for line in lines if line[:1] == "{"]
        assert any(line.get("ending") == "done" for line in told), lines
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        machine.forget_roles()


def _submit(machine: Machine, pictures: Path) -> None:
    """`docker compose run --rm producer submit /pictures --wait`."""
    producer = machine.container("producer", CLASSYARD_ENGINE="stub")
    words = ["submit", str(pictures), "--model", "digits", "--wait", "--json"]
    done = producer.run(producer.command(words))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] == len(list(SAMPLES.iterdir()))


def test_every_image_runs_as_a_user_without_rights() -> None:
    for target in ("producer", "flower", "web", "worker", "worker-gpu"):
        assert STAGES[target].user == "10001:10001"
        assert STAGES[target].entrypoint == ["classyard"]
    for target in ("worker", "worker-gpu"):
        assert STAGES[target].health == ["classyard", "doctor", "--worker"]
