"""Views: what the templates show, as plain values; nothing here asks the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import Code
from core.meanings import MEANINGS
from core.types import JobStatus
from producer.answers import answer
from producer.sources.uris import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from db.queries import Progress
    from producer.glance import Glance

#: Pictures whose sides are so short are shown with their pixels as they are.
TINY: Final = 64
#: Statuses as people say them.
WORDS: Final = {JobStatus.COMPLETED_WITH_ERRORS: "completed with errors"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A label and its score in percent."""

    label: str
    percent: float


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a job: its bars, or why there are none; `waits` while it has no row."""

    job_id: int
    position: int
    name: str
    bars: tuple[Bar, ...] = ()
    code: str = ""
    error: str = ""
    tiny: bool = False

    @property
    def waits(self) -> bool:
        """Whether it has no row yet."""
        return not self.bars and not self.code

    @property
    def meaning(self) -> str:
        """What its error code means, in a sentence."""
        return MEANINGS[Code(self.code)]

    @property
    def verdict(self) -> str:
        """Whether trying a failed image again may help."""
        return "a retry may help" if Code(self.code).transient else "a retry gives the same"


def picture(row: Row[Any]) -> Picture:
    """Return a row of results as it is shown; never its URI, which may be signed."""
    said = answer(row)
    return Picture(
        job_id=said.job_id,
        position=said.position,
        name=name_of(said.uri),
        bars=tuple(Bar(p.label, 100 * p.score) for p in said.predictions),
        code=said.error_code or "",
        error=said.error or "",
        tiny=max(said.width or TINY + 1, said.height or 0) <= TINY,
    )


def drop_pictures(
    job: Progress, rows: Sequence[Row[Any]], waiting: Mapping[int, str]
) -> list[Picture]:
    """Return all images of a drop in order: those with a row, and those that wait for one."""
    found = {row.position: picture(row) for row in rows}
    for position, uri in waiting.items():
        found.setdefault(position, Picture(job.job_id, position, name_of(uri)))
    return [found[position] for position in sorted(found)]


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is shown: where it stands, and what keeps it."""

    progress: Progress
    rate: float
    seconds_left: float | None = None
    obstacle: str = ""

    @property
    def status(self) -> str:
        """The status in words."""
        return WORDS.get(self.progress.status, str(self.progress.status))

    @property
    def live(self) -> bool:
        """Whether it will change by itself."""
        return not self.progress.status.terminal

    def share(self, images: int) -> float:
        """Return the percentage of all images."""
        return 100 * images / self.progress.total if self.progress.total else 0.0


def job_view(glance: Glance) -> JobView:
    """Return a job under way."""
    progress = glance.progress
    rate = progress.rate if progress.status.terminal else glance.pace.rate
    return JobView(progress, rate, glance.seconds_left, glance.obstacle)


def percent(value: float) -> str:
    """Return a percentage with one digit, never rounding something up to all or down to nothing."""
    if 0 < value < 0.1:
        return "< 0.1 %"
    if 99.9 < value < 100:
        return "> 99.9 %"
    return f"{value:.1f} %"


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(number: int) -> str:
    """Return a number with thin groups of thousands."""
    return f"{number:,}"
