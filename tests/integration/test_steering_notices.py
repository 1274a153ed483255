"""The outbox: a notice is written once per end, taken by one deliverer, and given up after its tries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from db import notices, steering
from tests.support.record import REQUEST, Record, grouped

if TYPE_CHECKING:
    from db.session import Database

REQUEST_WITH_HOOK = replace(REQUEST, options={"webhook": "https://example.org/ended"})


def test_a_notice_from_its_writing_to_its_end(database: Database) -> None:
    record = Record(database)
    silent = record.job(*grouped(2, 2))
    record.work_off(silent)
    assert not database.read(notices.any_due)  # no webhook, no notice
    job = record.job(*grouped(2, 2), request=REQUEST_WITH_HOOK)
    record.work_off(job)
    (waiting,) = database.read(notices.due)
    taken = database.write(notices.take, waiting)
    assert taken is not None
    assert (taken.job_id, taken.status, taken.attempts) == (job, "completed", 1)
    assert taken.url == "https://example.org/ended"
    assert database.write(notices.take, waiting) is None  # another deliverer finds it taken
    database.write(notices.failed, taken, "HTTP 500")
    assert not database.read(notices.any_due)  # not at once again
    seen = [taken.attempts]
    while record.sql("SELECT due_at FROM notices")[0][0] is not None:
        record.change("UPDATE notices SET due_at = created_at")
        again = database.write(notices.take, waiting)
        assert again is not None
        seen.append(again.attempts)
        database.write(notices.failed, again, "HTTP 500")
    assert seen == list(range(1, notices.TRIES + 1))

    second = record.job(*grouped(2, 2), request=REQUEST_WITH_HOOK)
    database.write(steering.cancel, second)
    (waiting,) = database.read(notices.due)
    taken = database.write(notices.take, waiting)
    assert taken is not None
    assert taken.status == "cancelled"
    database.write(notices.delivered, taken.id)
    assert not database.read(notices.any_due)
    assert record.sql("SELECT count(*) FROM notices WHERE delivered_at IS NOT NULL")[0][0] == 1
