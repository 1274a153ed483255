"""Metrics over HTTP: what really happened, in sums that survive the death of a child."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.metrics import WORKER_METRICS, YARD_METRICS
from core.settings import read_settings
from tests.acceptance.conftest import left_over
from tests.acceptance.test_up import started
from tests.support.ports import free_port
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOD = [f"https://pictures.example.org/{n}.jpg?signature=SECRET" for n in range(200)]
BAD = ["stub://fail/http_4xx/1", "stub://fail/http_4xx/2", "stub://fail/empty/3"]


def scrape(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every sample by its name and the values of its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "SECRET" not in text
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def answers(port: int) -> bool:
    try:
        return bool(scrape(port))
    except OSError:
        return False


def names(samples: Mapping[tuple[str, tuple[str, ...]], float]) -> set[str]:
    return {name for name, _ in samples}


def folder_of(worker: int) -> Path:
    """The folder in which the processes of a worker count."""
    for process in Path("/proc").glob("[0-9]*"):
        words = (process / "cmdline").read_bytes().split(b"\0")
        if b"worker.exporter" in words and str(worker).encode() in words:
            return Path(words[words.index(b"worker.exporter") + 1].decode())
    raise AssertionError("no exporter")


@pytest.fixture
def yard(home: Path) -> Yard:
    return Yard(
        read_settings(home=home, engine="stub", concurrency=2, grace=2,
                      metrics_port=free_port(), worker_metrics_port=free_port())
    )  # fmt: skip


def test_both_endpoints_say_what_happened(yard: Yard) -> None:
    own, whole = yard.settings.worker_metrics_port, yard.settings.metrics_port
    with yard:
        running = started(yard, "--metrics")
        yard.until(lambda: answers(own) and answers(whole), what="both endpoints")
        (worker,) = yard.sql("SELECT pid FROM workers")
        folder = folder_of(worker.pid)
        for done in (1, 2):
            found = _classify(yard, done)
            if done == 1:
                _kill_children(yard, worker.pid)
        # A new child goes on in the file of the old one.
        slots = {path.stem.rpartition("_")[2] for path in folder.iterdir()}
        assert slots == {"parent", "child0", "child1"}
        assert names(found) - {s for m in WORKER_METRICS for s in m.series} == set()
        _look_at_the_yard(yard, whole, worker.pid)
        os.kill(running.pid, signal.SIGKILL)
        assert left_over(yard.settings.home) == []
        assert not folder.exists()


def _classify(yard: Yard, done: int) -> dict[tuple[str, tuple[str, ...]], float]:
    """Run a job; return the worker's metrics, which must be `done` times those of one job."""
    port = yard.settings.worker_metrics_port
    yard.finish(yard.submit([*GOOD, *BAD], "--chunk-size", "10"))
    images = "classyard_images_total"
    # Counted after the commit that ends the job.
    yard.until(
        lambda: scrape(port).get((images, ("", "digits", "ok"))) == done * len(GOOD), 10, "counts"
    )
    found = scrape(port)
    assert found[images, ("http_4xx", "digits", "failed")] == done * 2
    assert found[images, ("empty", "digits", "failed")] == done
    assert found["classyard_chunks_total", ("done",)] == done * 21
    assert found["classyard_chunk_images_sum", ("digits",)] == done * 203
    assert found["classyard_attempts_total", ("0",)] == done * 21
    assert found["classyard_stage_seconds_total", ("digits", "record")] > 0
    assert found["classyard_worker_slots", ("CPU", "stub", "classyard")] == 2
    return found


def _look_at_the_yard(yard: Yard, port: int, pid: int) -> None:
    done = ("classyard_jobs", ("completed_with_errors",))
    yard.until(lambda: scrape(port).get(done) == 2, 10, "a fresh look at SQL")
    found = scrape(port)
    assert found["classyard_answers", ("database",)] == found["classyard_answers", ("redis",)] == 1
    assert found["classyard_queue_depth", ("normal", "classyard")] == 0
    assert found["classyard_window", ("classyard",)] == 4
    assert found["classyard_slots", ("classyard",)] == 2
    assert found["classyard_workers", ("stub", "classyard")] == 1
    (rate,) = [value for (name, _), value in found.items() if name.endswith("images_per_second")]
    assert rate > 0
    ours = {series for metric in YARD_METRICS for series in metric.series}
    assert {name for name in names(found) if name.startswith("classyard")} <= ours
    job = yard.submit(GOOD)
    yard.finish(job)
    (name,) = json.loads(yard.command("status", str(job), "--json").out)["workers"]
    assert f":{pid}:" in name


def _kill_children(yard: Yard, pid: int) -> None:
    """End both children, which hold nothing; wait for their successors."""
    path = Path(f"/proc/{pid}/task/{pid}/children")

    def children() -> set[int]:
        found = {int(word) for word in path.read_text().split()}
        return {p for p in found if b"exporter" not in Path(f"/proc/{p}/cmdline").read_bytes()}

    before = children()
    for child in before:
        os.kill(child, signal.SIGKILL)
    yard.until(lambda: len(children() - before) == len(before), 20, "new children")


def test_a_port_that_is_taken_costs_only_the_metrics(yard: Yard) -> None:
    with yard:
        started(yard)
        port = yard.settings.worker_metrics_port
        yard.until(lambda: answers(port), what="the first worker's metrics")
        second = yard.worker()
        yard.until(lambda: f":{port}: Address already in use" in second.log.read_text(), 10, "why")
        yard.finish(yard.submit(GOOD))
        folders = set(Path(tempfile.gettempdir()).glob("classyard-metrics-*"))
        assert second.stop() == 0
        # Its own, at least: the workers of tests beside this one may have ended, too.
        assert folders - set(Path(tempfile.gettempdir()).glob("classyard-metrics-*"))
