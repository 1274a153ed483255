"""What one message came to: the record that the log line, the metrics and the trace are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.types import StageSeconds

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How a message ends when its chunk was worked on; else the word is that of `db.chunks.refused`.
DONE, HANDED_BACK, STOPPED, DISCARDED = "done", "handed_back", "stopped", "discarded"


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """How a message ended. `seconds` is the whole time, `stages` where it went."""

    ending: str
    job_id: int
    chunk_id: int
    seconds: float
    model: str = ""
    attempts: int = 0
    images: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    reused: int = 0
    claim_seconds: float = 0.0
    stages: StageSeconds = field(default_factory=StageSeconds)
    error: str = ""
    redelivered: bool = False

    @property
    def failed(self) -> int:
        """Images that got an error code."""
        return sum(self.failures.values())

    def line(self) -> str:
        """Return the report for a person."""
        what = f"job {self.job_id} chunk {self.chunk_id}: "
        if self.ending == HANDED_BACK:
            return f"{what}handed back, {self.error}"
        if self.ending != DONE:
            return what + self.ending.replace("_", " ")
        failed = f", {self.failed} failed" if self.failed else ""
        stages = ", ".join(f"{name} {part:.2f}" for name, part in self._stages().items())
        return f"{what}{self.images} images in {self.seconds:.2f} s ({stages}){failed}"

    def fields(self) -> dict[str, Any]:
        """Return the report for a program: ids, counts, seconds. Never a URI."""
        told = {
            "action": "chunk",
            "ending": self.ending,
            "job_id": self.job_id,
            "chunk_id": self.chunk_id,
            "seconds": round(self.seconds, 6),
            "redelivered": self.redelivered,
        }
        if self.attempts:
            told |= {"model": self.model, "attempts": self.attempts, "images": self.images}
            told |= {"failed": self.failed, "reused": self.reused}
            told |= {"claim_seconds": round(self.claim_seconds, 6)}
            told |= {f"{name}_seconds": round(part, 6) for name, part in self._stages().items()}
        return told | ({"error": self.error} if self.error else {})

    def _stages(self) -> dict[str, float]:
        seconds = self.stages
        return {
            "fetch": seconds.fetch,
            "decode": seconds.decode,
            "predict": seconds.predict,
            "record": seconds.record,
        }
