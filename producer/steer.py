"""Steer: cancel, pause, resume and retry a job. What these leave undone, the sweep does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import BrokerError, Code, code_named
from db import jobs, steering
from db import retry as retrying

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from db.session import Database
    from producer.submit import Desk


def cancel(database: Database, job_id: int) -> int:
    """Cancel a job: no chunk of it starts any more, what is recorded stays.

    Returns the number of chunks that were dropped.

    Raises:
        NoSuchJobError, JobStatusError: if there is nothing to cancel.
    """
    database.write(steering.cancel, job_id)
    return _end_unsent(database, job_id)


def pause(database: Database, job_id: int) -> None:
    """Pause a job: no chunk of it starts until it is resumed.

    Raises:
        NoSuchJobError, JobStatusError: if it neither waits nor runs.
    """
    database.write(steering.pause, job_id)
    # Nothing may be left to wait for: then it has ended instead.
    database.write(jobs.close_if_done, job_id)


def resume(desk: Desk, job_id: int) -> None:
    """Let a paused job go on.

    Raises:
        NoSuchJobError, JobStatusError: if it is not paused.
        BrokerError: if Redis is away; the job then goes on by itself once it is back.
    """
    desk.database.write(steering.resume, job_id)
    desk.database.write(jobs.close_if_done, job_id)
    _top_up(desk, job_id, "is resumed")


def retry(desk: Desk, job_id: int, codes: Sequence[str] | None = None) -> int:
    """Run a job's failed images again (only those that failed with `codes`, if given).

    Their rows stay as they are until the new ones replace them. Returns the number of images.

    Raises:
        NoSuchJobError, JobStatusError: if the job's status does not allow it.
        BrokerError: if Redis is away; the images then run by themselves once it is back.
    """
    # A cancelled job is opened again: what it left waiting must not come back to life with it.
    _end_unsent(desk.database, job_id)
    size = desk.database.read(retrying.largest_chunk, job_id)
    images, last = 0, -1
    while True:
        put = desk.database.write(retrying.retry_slice, job_id, codes, last, size)
        if not put.images:
            break
        images, last = images + put.images, put.last
    if images:
        _top_up(desk, job_id, "is retried")
    return images


def chosen_codes(codes: Iterable[str], *, transient: bool) -> list[str] | None:
    """Return the error codes to retry; None means all.

    Raises:
        UsageError: if there is no such code.
    """
    chosen = {code_named(code).value for code in codes}
    if transient:
        chosen |= {code.value for code in Code if code.transient}
    return sorted(chosen) or None


def _end_unsent(database: Database, job_id: int) -> int:
    ended = 0
    while dropped := database.write(steering.end_unsent, job_id):
        ended += dropped
    return ended


def _top_up(desk: Desk, job_id: int, what: str) -> None:
    from broker.dispatch import Dispatcher  # inside: 'cancel' needs nothing of the broker's

    try:
        Dispatcher(desk.app, desk.database, desk.settings).top_up(job_id)
    except BrokerError as error:
        raise BrokerError(
            f"{error}. Job {job_id} {what} and goes on by itself once Redis is back"
        ) from error
