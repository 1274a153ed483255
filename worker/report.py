"""What one message came to: the record that the log line, the metrics and the trace are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.types import Failure, StageSeconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.types import Classification

#: How a message ends when its chunk was worked on; else the word is that of `db.chunks.refused`.
DONE, HANDED_BACK, STOPPED, DISCARDED = "done", "handed_back", "stopped", "discarded"


@dataclass(slots=True)
class Work:
    """What was done for a message, filled in on the way; what is not filled in did not happen."""

    ending: str = HANDED_BACK
    model: str = ""
    attempts: int = 0
    images: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    reused: int = 0
    claim_seconds: float = 0.0
    stages: StageSeconds = field(default_factory=StageSeconds)
    error: str = ""
    cause: Exception | None = None

    def count(self, done: Classification) -> None:
        """Count what was recorded: images, those that failed by error code, those reused."""
        self.images, self.reused = len(done.outcomes), done.reused
        self.failures = Counter(
            str(outcome.code) for outcome in done.outcomes if isinstance(outcome, Failure)
        )

    @property
    def failed(self) -> int:
        """Images that got an error code."""
        return sum(self.failures.values())


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """How a message ended. `seconds` is the whole time, `work.stages` where it went."""

    job_id: int
    chunk_id: int
    redelivered: bool
    seconds: float
    work: Work

    def line(self) -> str:
        """Return the report for a person."""
        work, what = self.work, f"job {self.job_id} chunk {self.chunk_id}: "
        if work.ending == HANDED_BACK:
            return f"{what}handed back, {work.error}"
        if work.ending != DONE:
            return what + work.ending.replace("_", " ")
        failed = f", {work.failed} failed" if work.failed else ""
        stages = ", ".join(f"{name} {part:.2f}" for name, part in self._stages().items())
        return f"{what}{work.images} images in {self.seconds:.2f} s ({stages}){failed}"

    def fields(self) -> dict[str, Any]:
        """Return the report for a program: ids, counts, seconds. Never a URI."""
        work = self.work
        told = {
            "action": "chunk",
            "ending": work.ending,
            "job_id": self.job_id,
            "chunk_id": self.chunk_id,
            "seconds": round(self.seconds, 6),
            "redelivered": self.redelivered,
        }
        if work.attempts:
            told |= {"model": work.model, "attempts": work.attempts, "images": work.images}
            told |= {"failed": work.failed, "reused": work.reused}
            told |= {"claim_seconds": round(work.claim_seconds, 6)}
            told |= {f"{name}_seconds": round(part, 6) for name, part in self._stages().items()}
        return told | ({"error": work.error} if work.error else {})

    def _stages(self) -> dict[str, float]:
        seconds = self.work.stages
        return {
            "fetch": seconds.fetch,
            "decode": seconds.decode,
            "predict": seconds.predict,
            "record": seconds.record,
        }
