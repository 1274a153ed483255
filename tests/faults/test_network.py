"""The network: image servers that do not answer, or answer without end, beside good ones."""

from __future__ import annotations

import socket
import statistics
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from producer.cli.local import SAMPLES
from tests.faults.checker import Verdict
from tests.integration.test_fetch_http import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.lab import Lab
    from tests.integration.test_fetch_http import Visit

#: What a picture of a hostile server must end as, by the path it is asked under.
CODES = {
    "silent": "timeout_read", "slow-headers": "timeout_total", "slow-body": "too_slow",
    "endless": "too_large", "closed": "conn_failed",
}  # fmt: skip
#: Short times, so that a test is: they are the same limits as by default, in the same order.
LIMITS = {
    "connect_timeout": 1, "read_timeout": 1.5, "fetch_timeout": 6.0, "fetch_tries": 2,
    "max_bytes": 1_000_000, "engine": "litert", "allow_nets": ("127.0.0.1/32",),
}  # fmt: skip
#: Two tries of FETCH_TIMEOUT, the pause between them, and a busy machine.
DEADLINE = 2 * 6.0 + 30


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    good = next(SAMPLES.glob("*.png")).read_bytes()
    opened.routes.update({
        "/good": lambda visit: visit.answer(good),
        "/silent": lambda visit: visit.site.stopping.wait(60) and None,
        "/slow-headers": lambda visit: visit.dribble(b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 99, 1),
        "/slow-body": slow_body,
        "/endless": endless,
    })  # fmt: skip
    yield opened
    opened.stop()


def slow_body(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n")
    visit.dribble(bytes(500), 0.2)


def endless(visit: Visit) -> None:
    visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not visit.site.stopping.is_set():
        visit.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")


@pytest.mark.faults_full
def test_f26_slow_and_hung_image_servers_hold_up_nobody_else(
    open_lab: Callable[..., Lab], site: Site, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 20)
    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))  # taken, never listening
        port = closed.getsockname()[1]
        lab = open_lab(**LIMITS, ports=(str(site.port), str(port)), stall_timeout=60.0)
        lab.workers(1)
        good = [site.url(f"/good?{number}") for number in range(12)]
        bad = [site.url(f"/{name}?") for name in CODES if name != "closed"]
        bad.append(f"http://127.0.0.1:{port}/closed?")
        lab.finish(lab.put(good), 90)  # the model is prepared before anything is measured
        seconds: list[float] = []
        for number in range(n):
            uris = [*good, *(f"{uri}{number}" for uri in bad)]
            lab.random.shuffle(uris)
            job = lab.put(uris, chunk_size=len(uris))
            assert lab.finish(job, 60) == "completed_with_errors"
            seconds.append(chunk_seconds(lab, job))
        found = verdict(lab)
        lab.all_run()
    assert found.ok, found
    assert max(seconds) < DEADLINE
    slowest = f"chunk p50 {statistics.median(seconds):.1f} s, max {max(seconds):.1f} s"
    lab.write("F26", n, found, f"five kinds of bad servers beside a good one; {slowest}")


def chunk_seconds(lab: Lab, job: int) -> float:
    [(started, ended)] = lab.sql(
        "SELECT started_at, finished_at FROM chunks WHERE job_id = :job", job=job
    )
    if lab.database_kind == "sqlite":
        started, ended = map(datetime.fromisoformat, (started, ended))
    return float((ended - started).total_seconds())


def verdict(lab: Lab) -> Verdict:
    """Check rows and codes here: the labels are a real model's, not the stub's."""
    rows = lab.sql("SELECT job_id, position, uri, error_code, label FROM results")
    submitted = sum(map(len, lab.jobs.values()))
    places = {(row.job_id, row.position) for row in rows}
    problems = [
        f"{row.uri}: {row.error_code}"
        for row in rows
        if row.error_code != CODES.get(row.uri.rpartition("/")[2].partition("?")[0])
        or (row.error_code is None) != (row.label is not None)
        or row.uri != lab.jobs[row.job_id][row.position]
    ]
    [(claims, chunks)] = lab.sql("SELECT sum(attempts), count(*) FROM chunks")
    lost, duplicates = submitted - len(places), len(rows) - len(places)
    return Verdict(submitted, lost, duplicates, chunks, claims - chunks, problems)
