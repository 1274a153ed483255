from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from core.errors import Code
from core.settings import read_settings
from worker.fetch.dns import Resolver
from worker.fetch.gate import HostGate
from worker.fetch.refusal import Refused

#: A gate waits for four times as long as a try may take.
LIMITS = replace(read_settings().fetch_limits, per_host=1, total_timeout=1.25)


def test_a_host_has_so_many_slots_and_no_more() -> None:
    gate = HostGate(replace(LIMITS, per_host=2))
    inside, most, lock = 0, 0, threading.Lock()

    def visit() -> None:
        nonlocal inside, most
        with gate.slot("h"):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.02)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
    assert not gate._lines


def test_waiting_for_a_slot_has_a_bound() -> None:
    gate = HostGate(replace(LIMITS, total_timeout=0.0125))
    with gate.slot("h"), gate.slot("other"):
        with pytest.raises(Refused) as caught, gate.slot("h"):
            pytest.fail("there is no second slot")
        assert caught.value.code is Code.TIMEOUT_TOTAL
    with gate.slot("h"):
        pass
    assert not gate._lines


def test_a_slot_is_given_back_after_an_error() -> None:
    gate = HostGate(replace(LIMITS, total_timeout=0.0125))
    with pytest.raises(KeyError), gate.slot("h"):
        raise KeyError
    with gate.slot("h"):
        pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), Code.DNS_NOT_FOUND),
        (socket.gaierror(socket.EAI_FAIL, "no"), Code.DNS_NOT_FOUND),
        (socket.gaierror(socket.EAI_AGAIN, "no"), Code.DNS_TIMEOUT),
        (OSError("broken"), Code.DNS_NOT_FOUND),
        (UnicodeError("label too long"), Code.DNS_NOT_FOUND),
    ],
)
def test_what_a_resolver_says(error: Exception, code: Code) -> None:
    def resolve(*_: Any) -> list[tuple[Any, ...]]:
        raise error

    with pytest.raises(Refused) as caught:
        Resolver(resolve, time.monotonic).lookup("h", 80, 5)
    assert caught.value.code is code


def test_a_hung_resolver_is_left_behind() -> None:
    wake = threading.Event()

    def resolve(*_: Any) -> list[tuple[Any, ...]]:
        wake.wait(10)
        return []

    resolver = Resolver(resolve, time.monotonic)
    began = time.monotonic()
    # More lookups than there are threads for: the last ones find none free, and end in time too.
    waiting = [threading.Thread(target=_late, args=(resolver,)) for _ in range(40)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    assert time.monotonic() - began < 3
    hung = [thread for thread in threading.enumerate() if thread.name == "fetch-dns"]
    assert len(hung) == 32
    assert all(thread.daemon for thread in hung)
    wake.set()
    for thread in hung:
        thread.join(5)
    assert resolver.lookup("h", 80, 5) == []


def _late(resolver: Resolver) -> None:
    with pytest.raises(Refused) as caught:
        resolver.lookup("h", 80, 0.2)
    assert caught.value.code is Code.DNS_TIMEOUT
