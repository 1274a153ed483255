"""One chunk from claim to record, in a child process."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from core.errors import BrokerError, Code, ModelError
from core.types import Failure
from db import chunks, jobs, workers
from db.chunks import Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.dispatch import Dispatcher
    from core.types import Classification
    from db.chunks import Claim, Outgoing, Terms
    from db.session import Database
    from worker.message import ChunkMessage
    from worker.models import Models
    from worker.watchdog import Watchdog

log = logging.getLogger("classyard.worker")

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
        claimed = self._database.write(
            chunks.claim, message.job_id, message.chunk_id, message.digest, self._owner, self._lease
        )
        if claimed is None:
            return self._drop(message)
        terms = self._terms_of(message.job_id)
        classification = self._classify(message, claimed, terms)
        following = self._database.write(
            chunks.complete, claimed, terms, self._owner, message.uris, classification
        )
        if following is None:
            self._database.write(workers.count, "commits_discarded")
            return "finished by another worker"
        self._go_on(terms, following)
        return _summary(claimed, terms, classification, perf_counter() - started)

    def _drop(self, message: ChunkMessage) -> str:
        """Count a message with nothing to do: done, cancelled, held by a live worker, or forged."""
        reason = self._database.read(
            chunks.refused, message.job_id, message.chunk_id, message.digest
        )
        self._database.write(workers.count, reason)
        return reason

    def _terms_of(self, job_id: int) -> Terms:
        if job_id not in self._terms:
            self._database.write(chunks.mark_running, job_id)
            terms = self._database.read(chunks.read_terms, job_id)
            assert terms is not None  # a chunk of it was just claimed
            while len(self._terms) >= MOST_TERMS:
                self._terms.popitem(last=False)
            self._terms[job_id] = terms
        return self._terms[job_id]

    def _classify(self, message: ChunkMessage, claimed: Claim, terms: Terms) -> Classification:
        """Classify, or hand the chunk back: with the failure counted, unless we are stopping."""
        try:
            classifier = self._models.get(terms.model, terms.fingerprint)
            roots = tuple(Path(root) for root in terms.roots)
            with self._watchdog:
                return classifier.classify(message.uris, roots, terms.top_k, self._stop)
        except StoppingError:
            self._database.write(chunks.hand_back, claimed, self._owner, None)
            raise
        except Exception as error:
            failure = _failure(error)
            self._database.write(chunks.hand_back, claimed, self._owner, failure)
            raise ChunkError(f"{failure.code}: {failure.detail}") from error

    def _go_on(self, terms: Terms, following: list[Outgoing]) -> None:
        """Send the job's next chunk, or close the job after its last one."""
        if not following:
            self._database.write(jobs.close_if_done, terms.job_id)
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
