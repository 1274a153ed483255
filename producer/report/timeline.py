"""Timeline: how many images per second, when, and which stage took the time; who did the work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

STAGES: Final = ("fetch", "decode", "predict", "record")
#: Bars of the timeline at most; with fewer chunks than this there is no curve to see.
SLICES: Final = 60
FEWEST_CHUNKS: Final = 4


@dataclass(slots=True)
class Slice:
    """A span of time: `start` in seconds since the first chunk was taken up."""

    start: float
    seconds: float
    images: float = 0.0
    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def shares(self) -> dict[str, float]:
        """The share of each stage in the time that the stages took."""
        return shares(self.stages)


@dataclass(slots=True)
class WorkerTally:
    """What the workers of one machine did; `seconds` are those of its slots."""

    images: int = 0
    chunks: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Images per second and slot."""
        return self.images / self.seconds if self.seconds > 0 else 0.0


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Return each part's share in their sum; nothing if there is none."""
    total = sum(seconds.values())
    return {name: part / total for name, part in seconds.items()} if total > 0 else {}


def timeline(chunks: Sequence[Row[Any]]) -> list[Slice]:
    """Return the slices of a job's first run, in order; empty if there are too few chunks.

    A chunk's images are spread evenly over the time it took. Retries, which may come days later,
    are left out.
    """
    first = [chunk for chunk in chunks if not chunk.retry]
    if len(first) < FEWEST_CHUNKS:
        return []
    begin = min(chunk.started_at for chunk in first)
    length = (max(chunk.finished_at for chunk in first) - begin).total_seconds()
    if length <= 0:
        return []
    number = min(SLICES, 2 * len(first))
    step = length / number
    slices = [Slice(at * step, step) for at in range(number)]
    for chunk in first:
        start = (chunk.started_at - begin).total_seconds()
        end = max(start, (chunk.finished_at - begin).total_seconds())
        _spread(slices, chunk, start, end)
    return slices


def _spread(slices: Sequence[Slice], chunk: Row[Any], start: float, end: float) -> None:
    step = slices[0].seconds
    low = min(len(slices) - 1, int(start / step))
    high = min(len(slices) - 1, int(end / step))
    for one in slices[low : high + 1]:
        shared = min(end, one.start + step) - max(start, one.start)
        part = shared / (end - start) if end > start else 1.0 / (high + 1 - low)
        one.images += chunk.images * part
        for stage in STAGES:
            one.stages[stage] += (getattr(chunk, f"{stage}_seconds") or 0.0) * part


def workers(chunks: Iterable[Row[Any]]) -> list[tuple[str, WorkerTally]]:
    """Return what each machine did, the slowest first."""
    found: dict[str, WorkerTally] = {}
    for chunk in chunks:
        # `host/namespace:pid…`, see `worker.identity`.
        tally = found.setdefault((chunk.worker or "unknown").partition("/")[0], WorkerTally())
        tally.images += chunk.images
        tally.chunks += 1
        tally.seconds += max(0.0, (chunk.finished_at - chunk.started_at).total_seconds())
    return sorted(found.items(), key=lambda item: (item[1].rate, item[0]))


def fetch_seconds(chunks: Iterable[Row[Any]]) -> dict[int, float]:
    """Return for each chunk the seconds that fetching one of its images took."""
    return {
        chunk.id: chunk.fetch_seconds / chunk.images
        for chunk in chunks
        if chunk.fetch_seconds and chunk.images
    }
