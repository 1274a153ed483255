"""How long one blocking call may wait: its own limit, or what is left of the try's deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.limits import FetchLimits


@dataclass(frozen=True, slots=True)
class Timer:
    """The time limits of a try and the clock they are measured with."""

    limits: FetchLimits
    clock: Callable[[], float]

    def deadline(self) -> float:
        """Return when a try that begins now must have ended."""
        return self.clock() + self.limits.total_timeout

    def allow(self, seconds: float, deadline: float) -> float:
        """Return the seconds that a call limited to `seconds` may take.

        Raises:
            Refused: TIMEOUT_TOTAL, because nothing is left.
        """
        left = deadline - self.clock()
        if left <= 0:
            raise self._total()
        return min(seconds, left)

    def expired(self, code: Code, seconds: float, deadline: float) -> Refused:
        """Return what to raise for a call that waited for as long as `allow` let it."""
        # A socket may wake a few milliseconds before the deadline that it was given.
        if self.clock() >= deadline - 0.01:
            return self._total()
        what = "no connection" if code is Code.TIMEOUT_CONNECT else "no bytes"
        return Refused(code, f"{what} for {seconds:g} s")

    def _total(self) -> Refused:
        seconds = self.limits.total_timeout
        return Refused(Code.TIMEOUT_TOTAL, f"not finished after {seconds:g} s")
