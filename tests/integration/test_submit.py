"""Submitting: whole or not at all, lazily, in chunks that fit the job, the workers and the model."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.app import make_app
from core.errors import BrokerError, ClassyardError, ManifestError, UsageError
from core.settings import Settings, read_settings
from db import chunks
from producer.chunking import FIRST_CHUNK
from producer.sources import open_sources
from producer.submit import SLICE, Desk, submit
from tests.support.record import ANN, REQUEST, Record, grouped, uris
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from db.session import Database
    from producer.sources import Sources


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    with Yard(settings) as yard:
        yield yard.desk


def piped(*lines: str) -> Sources:
    return open_sources(["-"], stdin=io.BytesIO("".join(f"{line}\n" for line in lines).encode()))


def sizes(record: Record, job: int) -> list[int]:
    found = record.sql("SELECT size FROM chunks WHERE job_id = :id ORDER BY seq", id=job)
    return [row.size for row in found]


def test_quotas(desk: Desk) -> None:
    record = Record(desk.database)
    strict = desk.settings.model_copy(update={"max_images": 200, "max_waiting": 300})
    desk = Desk(desk.app, desk.database, strict)
    with pytest.raises(UsageError, match=r"more than 200 images .*nothing was submitted"):
        submit(desk, piped(*uris(201)), REQUEST, 10)
    assert record.sql("SELECT id FROM jobs UNION SELECT id FROM chunks") == []
    first = submit(desk, piped(*uris(200)), REQUEST, 10)
    submit(desk, piped(*uris(100)), REQUEST, 10)
    with pytest.raises(ClassyardError, match="300 images wait already"):
        submit(desk, piped(*uris(1)), REQUEST, 10)
    record.change("UPDATE chunks SET status = 'done' WHERE job_id = :id", id=first.job_id)
    assert submit(desk, piped(*uris(1)), REQUEST, 10).total == 1


def test_every_line_is_one_position(desk: Desk) -> None:
    record = Record(desk.database)
    read: list[int] = []
    done = submit(desk, piped(*uris(SLICE * 3 + 5)), REQUEST, 1, read.append)
    assert (done.total, done.existing) == (SLICE * 3 + 5, False)
    assert read == sorted(read)
    assert read[-1] == done.total
    progress = record.progress(done.job_id)
    assert (progress.total, progress.pending, progress.chunks) == (101, 101, 101)
    record.change("UPDATE chunks SET status = 'pending'")
    record.work_off(done.job_id)
    assert [row.uri for row in record.rows(done.job_id)] == uris(101)


def test_further_columns_arrive_at_the_rows(desk: Desk, tmp_path: Path) -> None:
    record = Record(desk.database)
    table = tmp_path / "pictures.csv"
    table.write_text('uri,shelf,note\nhttp://a/1.jpg,3,"ü, ""q"""\nhttp://a/2.jpg,,\n')
    done = submit(desk, open_sources([str(table)]), REQUEST, 1)
    record.change("UPDATE chunks SET status = 'pending'")
    record.work_off(done.job_id)
    rows = desk.database.read(
        lambda c: c.execute(chunks.RESULTS.select().order_by(chunks.RESULTS.c.position)).all()
    )
    assert [row.extra for row in rows] == [
        {"shelf": "3", "note": 'ü, "q"'},
        {"shelf": "", "note": ""},
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.jsonl", '{"uri": "http://a/1.jpg"}\n' * 200 + "{oops\n", r"bad\.jsonl.*201"),
        ("bad.csv", "uri,n\n" + "http://a/1.jpg,1\n" * 100 + "http://a/2.jpg\n", r"bad\.csv.*102"),
    ],
)
def test_a_bad_line_far_down_leaves_nothing_behind(
    desk: Desk, tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError, match=said):
        submit(desk, open_sources([str(tmp_path / name)]), REQUEST, 1)
    for table in ("jobs", "chunks"):
        assert Record(desk.database).sql(f"SELECT id FROM {table}") == []


def test_an_interrupted_submission_leaves_nothing_behind(desk: Desk) -> None:
    def interrupt(total: int) -> None:
        if total >= 2 * SLICE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(desk, piped(*uris(SLICE * 5)), REQUEST, 1, interrupt)
    assert Record(desk.database).sql("SELECT id FROM jobs") == []


def test_nothing_to_submit_is_an_error_and_no_job(desk: Desk) -> None:
    with pytest.raises(UsageError, match="standard input names no image"):
        submit(desk, piped("# only a comment"), REQUEST)
    assert Record(desk.database).sql("SELECT id FROM jobs") == []


def test_only_what_is_needed_is_read_before_the_first_chunk_is_written(desk: Desk) -> None:
    """A list without end: the first slice is in SQL long before the list has been read."""
    record = Record(desk.database)
    lines = (json.dumps({"uri": f"http://a/{n}.jpg"}) for n in range(10**9))

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            view = memoryview(buffer)  # type: ignore[arg-type]
            line = next(lines).encode() + b"\n"
            view[: len(line)] = line
            return len(line)

    def stop(total: int) -> None:
        assert record.sql("SELECT count(*) FROM chunks")[0][0] > 0
        if total > 20_000:
            raise KeyboardInterrupt

    sources = open_sources(["-"], stdin=io.BufferedReader(Endless()))
    with pytest.raises(KeyboardInterrupt):
        submit(desk, sources, REQUEST, 0, stop)


@pytest.mark.parametrize(
    ("count", "slots", "most"),
    [(3, 0, 3), (100, 2, 25), (2000, 2, FIRST_CHUNK)],
    ids=["three", "a hundred keep both children busy", "two thousand"],
)
def test_the_chunk_size_fits_a_model_never_timed(
    desk: Desk, count: int, slots: int, most: int
) -> None:
    record = Record(desk.database)
    if slots:
        record.arrive(ANN, slots)
    found = sizes(record, submit(desk, piped(*uris(count)), REQUEST).job_id)
    assert sum(found) == count
    assert max(found) <= most
    assert len(found) <= 3 + 2 * count / most, "chunks cost: no more of them than are of use"


def test_a_chunk_ends_in_time_however_slowly_hosts_may_be_asked(desk: Desk) -> None:
    record = Record(desk.database)
    record.arrive(ANN, 4)
    slow = replace(desk, settings=desk.settings.model_copy(update={"rate_per_host": 0.2}))
    far = [f"https://example.org/{number}.jpg" for number in range(1000)]
    found = sizes(record, submit(slow, piped(*far), REQUEST).job_id)
    # Four children take turns: each gets an image every 20 s, for at most half of the soft limit.
    assert max(found) == 22
    assert sizes(record, submit(slow, piped(*uris(100)), REQUEST).job_id) == sizes(
        record, submit(desk, piped(*uris(100)), REQUEST).job_id
    ), "files have no hosts"


def test_a_fast_model_gets_large_chunks_and_a_slow_one_small(desk: Desk) -> None:
    record = Record(desk.database)
    for seconds, size in ((10, 60), (0.1, 1000)):
        record.change("DELETE FROM chunks")
        for sent in record.take(record.job(*grouped(400 * 3, 400))):
            claimed = record.held(sent)
            record.ago("started_at", sent.chunk_id, 10 if seconds == 10 else 0)
            record.complete(claimed, sent)
        if seconds == 10:
            found = sizes(record, submit(desk, piped(*uris(4000)), REQUEST).job_id)
            assert max(found) == pytest.approx(size, rel=0.2)
            far = [f"https://example.org/{number}.jpg" for number in range(4000)]
            found = sizes(record, submit(desk, piped(*far), REQUEST).job_id)
            assert max(found) == pytest.approx(80, rel=0.2), "each waits for its first image"
        else:
            found = sizes(record, submit(desk, piped(*uris(30_000)), REQUEST).job_id)
            assert max(found) > size


def test_the_same_key_is_the_same_job(desk: Desk) -> None:
    keyed = REQUEST.named("scans", key="2024")
    first = submit(desk, piped(*uris(3)), keyed)
    again = submit(desk, piped(*uris(5)), keyed)
    assert (again.job_id, again.total, again.existing) == (first.job_id, 3, True)
    assert len(Record(desk.database).sql("SELECT id FROM jobs")) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_redis_no_job_is_made(database: Database, home: Path) -> None:
    settings = read_settings(home=home, broker_url=f"redis+socket://{home}/nobody.sock")
    app = make_app(settings, patient=False)
    with pytest.raises(BrokerError, match="Redis does not answer"):
        submit(Desk(app, database, settings), piped(*uris(3)), REQUEST)
    assert Record(database).sql("SELECT id FROM jobs") == []
    app.close()
