"""Three hosts: broker and database on one, a worker on each of two; one of these is cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url

from tests.faults.hosts import Hosts
from tests.faults.rows import postgresql
from tests.support.yard import ROOT, Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.lab import Lab

REDIS, POSTGRESQL = 6379, 5432


@pytest.fixture
def hosts(lab: Lab) -> Iterator[Hosts]:
    """The hosts; the hub offers the lab's Redis and its PostgreSQL."""
    url = make_url(lab.settings.database).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        folder = connection.info.host
    if not Path(folder).is_absolute():
        pytest.skip("the database server has no unix socket to pass on")
    with Hosts(("one", "two")) as opened:
        words = [
            f"0.0.0.0:{REDIS}={lab.redis.path}",
            f"0.0.0.0:{POSTGRESQL}={folder}/.s.PGSQL.5432",
        ]
        command = [*opened.inside("hub"), sys.executable, "-m", "tests.faults.relay", *words]
        relay = subprocess.Popen(command, cwd=ROOT)
        yield opened
        relay.kill()
        relay.wait()


def start(lab: Lab, hosts: Hosts, name: str) -> Running:
    """Start a worker on a host."""
    address = hosts.hub_address(name)
    database = make_url(lab.settings.database).set(host=address, port=POSTGRESQL, query={})
    environment = lab.environment(
        CLASSYARD_BROKER_URL=f"redis://{address}:{REDIS}/0",
        CLASSYARD_INSECURE_BROKER="1",
        CLASSYARD_DATABASE_URL=database.render_as_string(hide_password=False),
    )
    log = lab.settings.home / f"worker-{name}.log"
    with log.open("wb") as output:
        command = [*hosts.inside(name), sys.executable, "-m", "worker"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
            cwd=ROOT,
        )  # fmt: skip
    running = Running(process, log)
    lab.processes.append(running)
    return running


@pytest.mark.faults_full
@postgresql
def test_f12_a_host_is_cut_off_and_comes_back(lab: Lab, hosts: Hosts) -> None:
    one, two = (start(lab, hosts, name) for name in ("one", "two"))
    for running in (one, two):
        lab.arrived(running)
    lab.put(lab.naps(600), 8)
    lab.until(lambda: lab.held(one), what="a chunk on the first host")
    hosts.cut("one")
    held = lab.held(one)
    with lab.timed():
        lab.until(lambda: lab.done(held), 30, "its chunks, done by the other host")
    hosts.mend("one")
    lab.until(lambda: lab.sql("SELECT 1 FROM workers WHERE pid = :p AND last_seen > now() -"
                              " interval '2 seconds'", p=one.pid), 60, "the host's return")  # fmt: skip
    two.stop()
    lab.put(lab.naps(40), 8)  # only the host that came back can do these
    found = lab.verdict("F12n", 1, "one of two worker hosts cut off the network, then back")
    assert found.lost == found.duplicates == 0
