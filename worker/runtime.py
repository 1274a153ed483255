"""One chunk from claim to record, in a child process."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from time import perf_counter
from typing import TYPE_CHECKING, Concatenate, NoReturn, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

from core.errors import BrokerError, Code, ModelError
from core.types import Failure
from db import chunks, jobs, steering, workers
from db.chunks import Owner
from db.session import TRIES, backoff, is_transient
from worker.report import DISCARDED, DONE, STOPPED
from worker.reuse import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from broker.dispatch import Dispatcher
    from core.types import Classification
    from db.chunks import Claim, Outgoing, Terms
    from worker.message import ChunkMessage
    from worker.models import Models
    from worker.report import Work
    from worker.telemetry import Delivery, Telemetry
    from worker.watchdog import Watchdog

log = logging.getLogger("classyard.worker")

T = TypeVar("T")
P = ParamSpec("P")

#: Jobs whose terms a child remembers.
MOST_TERMS = 64
#: A child looks for too many errors for no more than one part in so many of its time.
JUDGING = 20


class StoppingError(Exception):
    """The worker is being stopped and the grace time is over: hand the chunk back."""


class ChunkError(Exception):
    """A chunk could not be classified; it was handed back. Shows as a failure in Flower."""


class Runtime:
    """What a child holds between chunks: database, models, and the jobs' terms."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        models: Models,
        watchdog: Watchdog,
        worker_id: str,
        stop: Callable[[], None],
        telemetry: Telemetry,
    ) -> None:
        self._database = dispatcher.database
        self._dispatcher = dispatcher
        self._models = models
        self._lease = dispatcher.settings.lease
        self._watchdog = watchdog
        self._owner = Owner(worker_id, os.getpid())
        self._stop = stop
        self._telemetry = telemetry
        self._terms: OrderedDict[int, Terms] = OrderedDict()
        self._judge_from = 0.0

    def process(self, message: ChunkMessage, delivery: Delivery) -> str:
        """Claim, classify and record one chunk; return how it ended.

        Raises:
            ChunkError: if the chunk was handed back because of a failure of its own.
            StoppingError: if it was handed back because the worker stops.
        """
        with self._telemetry.message(message, delivery) as work:
            work.ending = self._process(message, work)
            return work.ending

    def _process(self, message: ChunkMessage, work: Work) -> str:
        claimed = self._claim(message, work)
        if claimed is None:
            return self._drop(message)
        terms = self._terms_of(message.job_id)
        work.model, work.attempts = terms.model, claimed.attempts
        classification = self._classify(message, claimed, terms, work)
        work.stages = classification.seconds
        following = self._record(message, claimed, terms, classification, work)
        if following is None:
            self._write(workers.count, "commits_discarded")
            return DISCARDED
        work.count(classification)
        if classification.reused:
            self._write(workers.count, "images_reused", classification.reused)
        with self._telemetry.span("dispatch"):
            self._go_on(terms, following)
        return DONE

    def _claim(self, message: ChunkMessage, work: Work) -> Claim | None:
        started = perf_counter()
        with self._telemetry.span("claim"):
            claimed = self._patiently(
                lambda: self._database.write_one(
                    chunks.claim,
                    message.job_id,
                    message.chunk_id,
                    message.digest,
                    self._owner,
                    self._lease,
                )
            )
        work.claim_seconds = perf_counter() - started
        return claimed

    def _drop(self, message: ChunkMessage) -> str:
        """Count a message with nothing to do: done, cancelled, held by a live worker, or forged."""
        reason = self._read(chunks.refused, message.job_id, message.chunk_id, message.digest)
        self._write(workers.count, reason)
        return reason

    def _terms_of(self, job_id: int) -> Terms:
        if job_id not in self._terms:
            self._write(chunks.mark_running, job_id)
            terms = self._read(chunks.read_terms, job_id)
            assert terms is not None  # a chunk of it was just claimed
            while len(self._terms) >= MOST_TERMS:
                self._terms.popitem(last=False)
            self._terms[job_id] = terms
        return self._terms[job_id]

    def _classify(
        self, message: ChunkMessage, claimed: Claim, terms: Terms, work: Work
    ) -> Classification:
        """Classify, or hand the chunk back: with the failure counted, unless we are stopping."""
        try:
            with self._telemetry.span("classify"):
                classifier = self._models.get(
                    terms.model, terms.fingerprint, embeddings=terms.embeddings
                )
                with self._watchdog:
                    return classify(self._database, terms, classifier, message.uris, self._stop)
        except StoppingError:
            self._write(chunks.hand_back, claimed, self._owner, None)
            work.ending = STOPPED
            raise
        except Exception as error:  # noqa: BLE001  handed back with it, and raised again
            self._fail(claimed, error, work)

    def _record(
        self,
        message: ChunkMessage,
        claimed: Claim,
        terms: Terms,
        classification: Classification,
        work: Work,
    ) -> list[Outgoing] | None:
        """Record the outcomes; return the chunks to send next, None if the chunk was not ours."""
        started = perf_counter()
        try:
            with self._telemetry.span("record"):
                return self._write(
                    chunks.complete, claimed, terms, self._owner, message.uris, classification
                )
        except StoppingError:
            # The database is away: once this worker is gone the sweep frees the chunk.
            work.ending = STOPPED
            raise
        except Exception as error:  # noqa: BLE001  handed back with it, and raised again
            self._fail(claimed, error, work)
        finally:
            work.stages.record = perf_counter() - started

    def _fail(self, claimed: Claim, error: Exception, work: Work) -> NoReturn:
        failure = _failure(error)
        self._write(chunks.hand_back, claimed, self._owner, failure)
        work.error, work.cause = f"{failure.code}: {failure.detail}", error
        # Not `from error`: events carry the traceback to Flower, and its text may name a signed URI.
        raise ChunkError(work.error) from None

    def _write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._patiently(lambda: self._database.write(work, *args, **kwargs))

    def _read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._patiently(lambda: self._database.read(work, *args, **kwargs))

    def _patiently(self, transaction: Callable[[], T]) -> T:
        """Run a transaction, waiting for a database that is away: a child has nothing better to do.

        To give up would be worse: the chunk would stay ours, unfinished, until its lease ends.
        """
        while True:
            try:
                return transaction()
            except DBAPIError as error:
                if not is_transient(error):
                    raise
                log.warning("waiting for the database: %s", str(error.orig).partition("\n")[0])
                self._stop()
                time.sleep(backoff(TRIES))

    def _go_on(self, terms: Terms, following: list[Outgoing]) -> None:
        """Send the job's next chunk, or close the job after its last one, or stop it for its errors."""
        if terms.error_limit and self._stop_if_failing(terms, last=not following):
            self._write(steering.end_unsent, terms.job_id)
            return
        if not following:
            self._write(jobs.close_if_done, terms.job_id)
            return
        try:
            self._dispatcher.send(following)
        except BrokerError as error:
            # The chunk at hand is recorded; the next one is pending again and the sweep sends it.
            log.warning("%s", error, extra={"action": "dispatch_failed", "job_id": terms.job_id})

    def _stop_if_failing(self, terms: Terms, *, last: bool) -> bool:
        """Stop a job with too many errors, which means to add up its chunks: not after each of many."""
        started = time.monotonic()
        if not last and started < self._judge_from:
            return False
        # Read first: to wait for SQLite's writer is no effort, and would put off the next look.
        job = terms.job_id, terms.error_limit
        failing = self._read(steering.too_many_errors, *job)
        self._judge_from = started + JUDGING * (time.monotonic() - started)
        return bool(failing) and self._write(steering.stop_if_failing, *job)


def _failure(error: Exception) -> Failure:
    """Return why a whole chunk failed."""
    if isinstance(error, ModelError):
        return Failure(Code.MODEL_UNAVAILABLE, str(error))
    if type(error).__name__ == "SoftTimeLimitExceeded":
        return Failure(Code.WORKER_CRASH, "the chunk took longer than CLASSYARD_SOFT_LIMIT")
    return Failure(Code.INTERNAL, f"{type(error).__name__}: {error}")
