"""Tally: everything a report says of a job's rows, from one pass over them, in bounded memory."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core.types import ResultStatus
from producer.report.shown import host, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from producer.report.judge import Judge

#: Bars of the score histogram.
BINS: Final = 20
#: Images of one label in the gallery, images under least certain, and under mistakes, at most.
SAMPLE: Final = 12
DOUBTFUL: Final = 24
#: A margin that leaves no doubt; of images with such margins only the first few are shown.
SURE: Final = 0.9
FEW: Final = 6
MISTAKES: Final = 24
#: Hosts told apart, and failed images named for one code.
HOSTS: Final = 10_000
EXAMPLES: Final = 3


@dataclass(slots=True)
class LabelTally:
    """The images of one label: how many, how sure, an even sample (positions)."""

    count: int = 0
    scores: float = 0.0
    sample: list[int] = field(default_factory=list)

    @property
    def mean_score(self) -> float:
        """The mean score of the images given this label."""
        return self.scores / self.count


@dataclass(slots=True)
class CodeTally:
    """The images that failed with one code: how many, and the first few: `(image, error)`."""

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class HostTally:
    """The images of one host; `fetch_seconds` is estimated: each chunk's, shared by its images."""

    images: int = 0
    failed: int = 0
    fetch_seconds: float = 0.0

    @property
    def seconds_per_image(self) -> float:
        """Estimated seconds to fetch one image."""
        return self.fetch_seconds / self.images


@dataclass(slots=True)
class Tally:
    """Running sums over the rows. `fetch_seconds` of an image, by its chunk."""

    fetch_seconds: Mapping[int, float]
    judge: Judge | None = None
    rows: int = 0
    labels: dict[str, LabelTally] = field(default_factory=dict)
    codes: dict[str, CodeTally] = field(default_factory=dict)
    hosts: dict[str, HostTally] = field(default_factory=dict)
    scores: list[int] = field(default_factory=lambda: [0] * BINS)
    files: int = 0
    _doubtful: list[tuple[float, int]] = field(default_factory=list)
    _mistakes: list[tuple[float, int]] = field(default_factory=list)
    # The same rows give the same sample.
    _dice: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311

    def add(self, row: Row[Any]) -> None:
        """Count one image."""
        self.rows += 1
        failed = row.status == ResultStatus.FAILED
        self._from(row, failed=failed)
        if failed:
            code = self.codes.setdefault(row.error_code, CodeTally())
            code.count += 1
            if len(code.examples) < EXAMPLES:
                code.examples.append((shown(row.uri), row.error or ""))
            return
        self.scores[min(BINS - 1, max(0, int(row.score * BINS)))] += 1
        self._label(row)
        if len(row.predictions) > 1:
            margin = row.predictions[0][2] - row.predictions[1][2]
            _keep(self._doubtful, (-margin, -row.position), DOUBTFUL)
        if self.judge is not None and self.judge.wrong(row):
            _keep(self._mistakes, (row.score, -row.position), MISTAKES)

    @property
    def doubtful(self) -> list[int]:
        """Positions with the lowest margins, the lowest first; only a few where all are sure."""
        ordered = [
            (-margin, -position) for margin, position in sorted(self._doubtful, reverse=True)
        ]
        return [at for rank, (gap, at) in enumerate(ordered) if gap < SURE or rank < FEW]

    @property
    def mistakes(self) -> list[int]:
        """Positions that are wrong by the truth, the surest first."""
        return [-position for _, position in sorted(self._mistakes, reverse=True)]

    @property
    def most_frequent(self) -> list[tuple[str, LabelTally]]:
        """All labels, the most frequent first."""
        return sorted(self.labels.items(), key=lambda item: (-item[1].count, item[0]))

    def _label(self, row: Row[Any]) -> None:
        label = self.labels.setdefault(row.label, LabelTally())
        label.count += 1
        label.scores += row.score
        if len(label.sample) < SAMPLE:
            label.sample.append(row.position)
        elif (place := int(self._dice.random() * label.count)) < SAMPLE:
            label.sample[place] = row.position

    def _from(self, row: Row[Any], *, failed: bool) -> None:
        name = host(row.uri)
        if not name:
            self.files += 1
            return
        if name not in self.hosts and len(self.hosts) >= HOSTS:
            return
        found = self.hosts.setdefault(name, HostTally())
        found.images += 1
        found.failed += failed
        found.fetch_seconds += self.fetch_seconds.get(row.chunk_id, 0.0)


def _keep(heap: list[tuple[float, int]], entry: tuple[float, int], most: int) -> None:
    """Keep the largest entries."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
