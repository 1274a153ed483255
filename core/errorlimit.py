"""How many failed images a job tolerates before it is stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import UsageError

#: Images that must have ended before a percentage means anything.
FIRST_PERCENT_AT: Final = 100


@dataclass(frozen=True, slots=True)
class ErrorLimit:
    """`12` or `5%`: a job with more failed images than that is stopped."""

    value: float
    percent: bool

    def exceeded(self, failed: int, done: int) -> bool:
        """Whether `failed` of `done` images are too many."""
        if not self.percent:
            return failed > self.value
        return done >= FIRST_PERCENT_AT and failed * 100 > self.value * done

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.percent else f"{self.value:.0f}"


def parse_error_limit(text: str) -> ErrorLimit:
    """Read `N` (images) or `P%` (of the images that have ended, once 100 have).

    Raises:
        UsageError: if it is neither.
    """
    number, percent, rest = text.strip().partition("%")
    wrong = UsageError(f"--max-errors: '{text}' is neither a number of images nor a percentage")
    try:
        value = float(number) if percent else int(number)
    except ValueError as error:
        raise wrong from error
    if rest or not 0 <= value <= (100 if percent else 2**31):
        raise wrong
    return ErrorLimit(value, bool(percent))
