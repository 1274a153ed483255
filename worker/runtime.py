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
from worker.reuse import classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from broker.dispatch import Dispatcher
    from core.types import Classification
    from db.chunks import Claim, Outgoing, Terms
    from db.session import Database
    from worker.message import ChunkMessage
    from worker.models import Models
    from worker.watchdog import Watchdog

log = logging.getLogger("classyard.worker")

T = TypeVar("T")
P = ParamSpec("P")

#: Jobs whose terms a child remembers.
MOST_TERMS = 64


class StoppingError(Exception):
    """The worker is being stopped and the grace time is over: hand the chunk back."""


class ChunkError(Exception):
    """A chunk could not be classified; it was handed back. Shows as a failure in Flower."""


class Runtime:
    """What a child holds between chunks: database, models, and the jobs' terms."""

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        models: Models,
        watchdog: Watchdog,
        worker_id: str,
        stop: Callable[[], None],
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._models = models
        self._lease = dispatcher.settings.lease
        self._watchdog = watchdog
        self._owner = Owner(worker_id, os.getpid())
        self._stop = stop
        self._terms: OrderedDict[int, Terms] = OrderedDict()

    def process(self, message: ChunkMessage) -> str:
        """Claim, classify and record one chunk; return one line about it.

        Raises:
            ChunkError: if the chunk was handed back because of a failure of its own.
            StoppingError: if it was handed back because the worker stops.
        """
        started = perf_counter()
        claimed = self._write(
            chunks.claim, message.job_id, message.chunk_id, message.digest, self._owner, self._lease
        )
        if claimed is None:
            return self._drop(message)
        terms = self._terms_of(message.job_id)
        classification = self._classify(message, claimed, terms)
        following = self._record(message, claimed, terms, classification)
        if following is None:
            self._write(workers.count, "commits_discarded")
            return "finished by another worker"
        if classification.reused:
            self._write(workers.count, "images_reused", classification.reused)
        self._go_on(terms, following)
        return _summary(claimed, terms, classification, perf_counter() - started)

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

    def _classify(self, message: ChunkMessage, claimed: Claim, terms: Terms) -> Classification:
        """Classify, or hand the chunk back: with the failure counted, unless we are stopping."""
        try:
            classifier = self._models.get(terms.model, terms.fingerprint)
            with self._watchdog:
                return classify(self._database, terms, classifier, message.uris, self._stop)
        except StoppingError:
            self._write(chunks.hand_back, claimed, self._owner, None)
            raise
        except Exception as error:  # noqa: BLE001  handed back with it, and raised again
            self._fail(claimed, error)

    def _record(
        self, message: ChunkMessage, claimed: Claim, terms: Terms, classification: Classification
    ) -> list[Outgoing] | None:
        """Record the outcomes; return the chunks to send next, None if the chunk was not ours."""
        try:
            return self._write(
                chunks.complete, claimed, terms, self._owner, message.uris, classification
            )
        except StoppingError:
            raise  # the database is away: once this worker is gone the sweep frees the chunk
        except Exception as error:  # noqa: BLE001  handed back with it, and raised again
            self._fail(claimed, error)

    def _fail(self, claimed: Claim, error: Exception) -> NoReturn:
        failure = _failure(error)
        self._write(chunks.hand_back, claimed, self._owner, failure)
        log.warning("chunk %s handed back", claimed.chunk_id, exc_info=error)
        # Not `from error`: events carry the traceback to Flower, and its text may name a signed URI.
        raise ChunkError(f"{failure.code}: {failure.detail}") from None

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
        if terms.error_limit and self._write(
            steering.stop_if_failing, terms.job_id, terms.error_limit
        ):
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


def _failure(error: Exception) -> Failure:
    """Return why a whole chunk failed."""
    if isinstance(error, ModelError):
        return Failure(Code.MODEL_UNAVAILABLE, str(error))
    if type(error).__name__ == "SoftTimeLimitExceeded":
        return Failure(Code.WORKER_CRASH, "the chunk took longer than CLASSYARD_SOFT_LIMIT")
    return Failure(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _summary(claimed: Claim, terms: Terms, done: Classification, seconds: float) -> str:
    return (
        f"job {terms.job_id} chunk {claimed.chunk_id}: {len(done.outcomes)} images in "
        f"{seconds:.2f} s (fetch {done.seconds.fetch:.2f}, decode {done.seconds.decode:.2f}, "
        f"predict {done.seconds.predict:.2f})"
    )
