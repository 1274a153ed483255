"""Flower hears of every chunk, though the worker tells of several at once and leaves right after."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.support.events import Events

if TYPE_CHECKING:
    from tests.support.yard import Yard

CHUNKS = 30


def test_a_worker_that_leaves_has_told_of_all_its_chunks(yard: Yard) -> None:
    worker = yard.worker()
    with Events(yard) as events:
        yard.until(lambda: events.heard, what="a sign of life")
        uris = [f"stub://sleep/0.002/{n}" for n in range(CHUNKS)]
        job = yard.submit(uris, "--chunk-size", "1")
        while yard.sql("SELECT count(*) FROM results")[0][0] < CHUNKS:
            pass  # at once: what was told last is a tenth of a second old at most
        assert worker.stop() == 0
        yard.until(lambda: "worker-offline" in told(events), what="a farewell")
    assert yard.finish(job) == "completed"
    heard = told(events)
    kinds = ("task-received", "task-started", "task-succeeded")
    assert [heard[kind] for kind in kinds] == [CHUNKS] * 3


def told(events: Events) -> Counter[str]:
    return Counter(event["type"] for event in events.heard)
