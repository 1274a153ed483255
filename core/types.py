"""The small frozen types that travel between the rooms."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final

from core.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.errors import Code

#: Longest error text kept on a row, in characters: a million distinct messages must stay small.
DETAIL_LIMIT: Final = 300


class JobStatus(StrEnum):
    """Where a job stands. The last four are terminal."""

    SUBMITTING = "submitting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self in TERMINAL


TERMINAL: Final = frozenset(
    {
        JobStatus.COMPLETED,
        JobStatus.COMPLETED_WITH_ERRORS,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }
)


class ChunkStatus(StrEnum):
    """Where a chunk stands: waiting in SQL, sent to Redis, held by a worker, or ended."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class ResultStatus(StrEnum):
    """How one image ended."""

    OK = "ok"
    FAILED = "failed"


class Priority(IntEnum):
    """Which Redis list a job's messages go to; lower is served first."""

    HIGH = 0
    NORMAL = 5
    LOW = 9


@dataclass(frozen=True, slots=True)
class Item:
    """One image at one position of a job, with the caller's further columns."""

    position: int
    uri: str
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One of the top-k classes of an image."""

    class_index: int
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Classified:
    """An image that got its labels, best first. Width and height are the picture's own, upright."""

    predictions: tuple[Prediction, ...]
    width: int
    height: int
    content_hash: str
    #: What the network's last hidden layer says, as little-endian float16; only where asked for.
    embedding: bytes | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that got none, and why. The detail is one bounded, printable line."""

    code: Code
    detail: str

    def __post_init__(self) -> None:
        """Make the detail safe to print and to store, whatever a server or a library said."""
        object.__setattr__(self, "detail", printable(redact(self.detail)))


Outcome = Classified | Failure


@dataclass(slots=True)
class StageSeconds:
    """Seconds that one chunk spent in each stage, summed over its images."""

    fetch: float = 0.0
    decode: float = 0.0
    predict: float = 0.0
    record: float = 0.0


@dataclass(frozen=True, slots=True)
class Classification:
    """What a classifier says of a chunk: one outcome per URI, in the same order."""

    outcomes: Sequence[Outcome]
    seconds: StageSeconds = field(default_factory=StageSeconds)
    #: Images answered from rows that were there, without inference.
    reused: int = 0


def encode_uris(uris: Sequence[str]) -> str:
    """Return URIs as the JSON text that chunk rows keep and digests are made of."""
    return json.dumps(uris, ensure_ascii=False, separators=(",", ":"))


def digest(uris_json: str) -> str:
    """Return the hash that ties a message to its chunk row (the row is the truth)."""
    return hashlib.blake2b(uris_json.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def printable(text: str, limit: int = DETAIL_LIMIT) -> str:
    """Return `text` on one line without control characters, cut to `limit` characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: limit * 2]).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"
