"""A glance at a job: where it stands, how fast it moves and what is in its way. From SQL only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.types import JobStatus
from db import queries, workers
from db.pace import pace, worker_rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.settings import Settings
    from db.pace import Pace
    from db.queries import Progress
    from db.session import Database


@dataclass(frozen=True, slots=True)
class Glance:
    """A job's progress, and what keeps it from moving (empty if nothing does)."""

    progress: Progress
    obstacle: str
    pace: Pace
    #: Images per second of each worker that lately worked on it, by the worker's id.
    workers: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the job ends at its present pace; None if nobody can tell."""
        status = self.progress.status
        if status.terminal or status == JobStatus.PAUSED or not self.pace.rate:
            return None
        return self.progress.pending / self.pace.rate


def look(database: Database, settings: Settings, job_id: int) -> Glance:
    """Return where a job stands right now.

    Raises:
        NoSuchJobError: if there is no such job.
    """
    progress = database.read(queries.progress, job_id)
    waits = not progress.status.terminal and progress.status != JobStatus.PAUSED
    glance = glance_at(database, settings, progress, in_the_way=waits)
    return replace(glance, workers=database.read(worker_rates, job_id))


def glance_at(
    database: Database, settings: Settings, progress: Progress, *, in_the_way: bool
) -> Glance:
    """Return a job's progress with its pace and, if wanted, what is in its way."""
    found = database.read(pace, progress.job_id, settings.dead_after)
    return Glance(progress, obstacle(database, settings, progress) if in_the_way else "", found)


def obstacle(database: Database, settings: Settings, progress: Progress) -> str:
    """Say why a job does not move: no worker lives, or chunks come back with an error."""
    if progress.status == JobStatus.SUBMITTING:
        return "it is still being submitted"
    queue = database.read(queries.queue_of, progress.job_id)
    if not database.read(workers.live_slots, settings.dead_after, queue):
        return (
            f"no worker serves queue '{queue}': start one with 'classyard worker --queue {queue}'"
        )
    return database.read(queries.last_error, progress.job_id) or ""
