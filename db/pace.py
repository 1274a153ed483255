"""How fast a job moves right now, and which stage holds it up: from its chunks of the last minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select

from core.types import ChunkStatus
from db.clock import now, seconds_between, seconds_from_now
from db.models import ACTIVE, Chunk, Job
from db.workers import live_slots

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: Seconds looked back.
WINDOW = 60.0
#: Share of the workers' time below which a job is held up by none of its stages, but by others.
SHARED = 0.3


@dataclass(frozen=True, slots=True)
class Pace:
    """What happened to a job in the last `seconds`, in which its workers had `slots` slots."""

    images: int
    seconds: float
    slots: int
    stages: dict[str, float]

    @property
    def rate(self) -> float:
        """Images per second lately; 0 if none was finished."""
        return self.images / self.seconds if self.seconds > 0 else 0.0

    def busy(self, stage: str) -> float:
        """Share of the slots' time that went into a stage of this job."""
        time = self.slots * self.seconds
        return min(1.0, self.stages[stage] / time) if time > 0 else 0.0

    def limit(self) -> str:
        """Say which stage limits the job, and how busy the model is; empty if nothing is known."""
        if not self.images or not self.slots:
            return ""
        rate = f"{self.rate:.0f} img/s" if self.rate >= 10 else f"{self.rate:.1f} img/s"
        used = sum(self.busy(stage) for stage in self.stages)
        if used < SHARED:
            return f"waiting for slots: {rate}, {used:.0%} of the workers' time is this job's"
        stage = max(self.stages, key=self.stages.__getitem__)
        return f"{stage}-bound: {rate}, predict {self.busy('predict'):.0%} busy"


def pace(connection: Connection, job_id: int, dead_after: float) -> Pace:
    """Return a job's pace, from the chunks it finished in the last minute."""

    def total(column: Any) -> Any:
        return func.coalesce(func.sum(column), 0)

    row = connection.execute(
        select(
            total(Chunk.ok + Chunk.failed).label("images"),
            total(Chunk.fetch_seconds).label("fetch"),
            total(Chunk.decode_seconds).label("decode"),
            total(Chunk.predict_seconds).label("predict"),
            total(Chunk.record_seconds).label("record"),
            seconds_between(func.min(Chunk.started_at), now()).label("seconds"),
        ).where(
            Chunk.job_id == job_id,
            Chunk.status == ChunkStatus.DONE,
            Chunk.finished_at >= seconds_from_now(-WINDOW),
        )
    ).one()
    queue = connection.execute(select(Job.queue).where(Job.id == job_id)).scalar_one_or_none()
    slots = live_slots(connection, dead_after, queue) if queue is not None else 0
    stages = {name: float(getattr(row, name)) for name in ("fetch", "decode", "predict", "record")}
    return Pace(int(row.images), min(WINDOW, row.seconds or 0.0), slots, stages)


def worker_rates(connection: Connection, job_id: int | None = None) -> dict[str, float]:
    """Return each worker's images per second in the last minute, for one job or for all together.

    Looks at the chunks of jobs that are under way or have just ended, by the index on jobs.
    """
    recent = select(Job.id).where(
        or_(Job.status.in_(ACTIVE), Job.finished_at >= seconds_from_now(-WINDOW))
    )
    rows = connection.execute(
        select(
            Chunk.worker,
            func.sum(Chunk.ok + Chunk.failed).label("images"),
            seconds_between(func.min(Chunk.started_at), now()).label("seconds"),
        )
        .where(
            Chunk.job_id.in_(recent) if job_id is None else Chunk.job_id == job_id,
            Chunk.status == ChunkStatus.DONE,
            Chunk.finished_at >= seconds_from_now(-WINDOW),
            Chunk.worker.is_not(None),
        )
        .group_by(Chunk.worker)
        .order_by(Chunk.worker)
    )
    return {row.worker: int(row.images) / max(min(WINDOW, row.seconds), 0.001) for row in rows}
