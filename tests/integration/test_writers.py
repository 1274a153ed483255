"""Many processes write to one SQLite file at once: all wait their turn, nobody is refused."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from db import jobs, queries, workers
from db.chunks import Owner
from db.migrate import migrate
from db.session import open_database
from tests.support.record import Record, grouped

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 4


def work(url: str, job: int) -> None:
    """Do what a worker's child does, without a pause: take, claim, complete, count, look."""
    database = open_database(url)
    record = Record(database)
    owner = Owner(f"worker {os.getpid()}", os.getpid())
    while waiting := record.take(job, 2):
        for sent in waiting:
            claimed = record.claim(sent, owner)
            assert claimed is not None
            following = record.complete(claimed, sent, owner)
            assert following is not None
            waiting += following
            database.write(workers.count, "chunks")
            database.read(queries.progress, job)
    database.close()


def test_concurrent_writers_never_find_the_database_locked(home: Path) -> None:
    url = f"sqlite:///{home}/test.db"
    database = open_database(url)
    migrate(database)
    record = Record(database)
    job = record.job(*grouped(4000, 20))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(url, job)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert record.database.write(jobs.close_if_done, job)
    rows = record.rows(job)
    assert [row.position for row in rows] == list(range(4000))
    assert len({row.worker for row in rows}) > 1, "they did not work at once"
    assert record.database.read(workers.counters) == {"chunks": 200}
    database.close()
