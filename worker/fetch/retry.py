"""Whether and when a failed try is tried again. The policy is pure; `run` is the only loop."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from core.errors import Code
from core.types import Failure
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: A slow server rarely becomes fast: these get one more try, however many are allowed.
_ONCE_MORE: Final = frozenset(
    {
        Code.TIMEOUT_CONNECT,
        Code.TIMEOUT_READ,
        Code.TIMEOUT_TOTAL,
        Code.TOO_SLOW,
        Code.TRUNCATED,
    }
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how many seconds."""

    tries: int
    #: Seconds that the first pause may last; it doubles with each failure up to `cap`.
    base: float = 0.5
    cap: float = 8.0
    #: Longest Retry-After that we wait for.
    patience: float = 30.0
    #: Seconds after the first try began in which the last one must begin: bounds an image's time.
    within: float = 60.0

    def pause(self, failures: Sequence[Refused], chance: float) -> float | None:
        """Return the seconds to wait before the next try, or None to stop.

        Args:
            failures: how the tries so far ended, at least one.
            chance: the jitter, in [0, 1): the workers of a fleet must not come back together.
        """
        last = failures[-1]
        if not last.code.transient or len(failures) >= self.tries:
            return None
        if last.code in _ONCE_MORE and sum(one.code in _ONCE_MORE for one in failures) > 1:
            return None
        asked = last.retry_after or 0.0
        if asked > self.patience:
            return None
        # The exponent is bounded too: 2.0 ** 2000 would overflow.
        return asked + chance * min(self.cap, self.base * 2.0 ** min(len(failures) - 1, 32))


def run(
    attempt: Callable[[], bytes],
    policy: RetryPolicy,
    sleep: Callable[[float], object],
    clock: Callable[[], float],
) -> bytes | Failure:
    """Return what `attempt` returns, or how its last permitted try ended."""
    began = clock()
    failures: list[Refused] = []
    while True:
        try:
            return attempt()
        except Refused as refused:
            failures.append(refused.with_traceback(None))
        chance = random.random()  # noqa: S311 - jitter, not a secret
        pause = policy.pause(failures, chance)
        if pause is None or clock() - began + pause > policy.within:
            return _failure(failures, policy)
        sleep(pause)


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds in a Retry-After header, or None if it says nothing usable."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _failure(failures: Sequence[Refused], policy: RetryPolicy) -> Failure:
    last = failures[-1]
    detail = last.detail
    if last.retry_after is not None and last.retry_after > policy.patience:
        detail += f"; asks to wait {last.retry_after:.0f} s"
    if len(failures) > 1:
        detail += f" (tried {len(failures)} times)"
    return Failure(last.code, detail)
