"""`up` tells that the yard is up when all that it started can be reached, not before."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from producer.services import Service, from_here
from producer.up import CHILDREN, Child, Crew
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

LATE = """
import socket, time
time.sleep({pause})
with socket.create_server(("127.0.0.1", {port})) as door:
    while True:
        door.accept()[0].close()
"""


def crew_of(home: Path, port: int, program: str, monkeypatch: pytest.MonkeyPatch) -> Crew:
    service = Service(
        name="late", command=[sys.executable, "-c", program], log=home / "late.log",
        environment={}, stop_seconds=5, door=("127.0.0.1", port),
    )  # fmt: skip
    child = Child(lambda _: service, lambda _settings, _service: "")
    monkeypatch.setitem(CHILDREN, "late", child)  # type: ignore[misc]
    return Crew(read_settings(home=home), ["late"])


def test_a_late_child_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with crew_of(home, port, LATE.format(pause=0.7, port=port), monkeypatch) as crew:
        crew.wait_until_open()
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "import time; time.sleep(60)"])
def test_one_that_died_or_listens_nowhere_holds_nobody_up(
    program: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crew_of(home, free_port(), program, monkeypatch) as crew:
        began = time.monotonic()
        crew.wait_until_open(seconds=1)
        assert time.monotonic() - began < 5


def test_a_door_to_all_addresses_is_reached_by_loopback() -> None:
    given = ["0.0.0.0", "::", "127.0.0.1", "10.1.2.3", "yard.example"]
    found = ["127.0.0.1", "::1", "127.0.0.1", "10.1.2.3", "yard.example"]
    assert [from_here(address) for address in given] == found
