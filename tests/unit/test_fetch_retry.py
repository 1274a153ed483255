from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.types import Failure
from worker.fetch.refusal import Refused
from worker.fetch.retry import RetryPolicy, parse_retry_after, run

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
POLICY = RetryPolicy(tries=4, base=0.5, cap=8, patience=30)


def tries(*endings: Refused | bytes) -> tuple[bytes | Failure, list[float], int]:
    """Run attempts that end as told; return the result, the pauses and how many were made."""
    pauses: list[float] = []
    left = list(endings)

    def attempt() -> bytes:
        ending = left.pop(0)
        if isinstance(ending, Refused):
            raise ending
        return ending

    result = run(attempt, POLICY, pauses.append, lambda: sum(pauses))
    return result, pauses, len(endings) - len(left)


@pytest.mark.parametrize("code", [code for code in Code if not code.transient])
def test_permanent_failures_are_tried_once(code: Code) -> None:
    result, pauses, made = tries(Refused(code, "no"), b"never")
    assert (result, pauses, made) == (Failure(code, "no"), [], 1)


@pytest.mark.parametrize(
    "code", [Code.HTTP_5XX, Code.HTTP_429, Code.CONN_FAILED, Code.DNS_TIMEOUT, Code.READ_FAILED]
)
def test_transient_failures_are_tried_as_often_as_allowed(code: Code) -> None:
    result, pauses, made = tries(*[Refused(code, "no")] * 5)
    assert result == Failure(code, "no (tried 4 times)")
    assert (len(pauses), made) == (3, 4)


@pytest.mark.parametrize(
    "code",
    [Code.TIMEOUT_CONNECT, Code.TIMEOUT_READ, Code.TIMEOUT_TOTAL, Code.TOO_SLOW, Code.TRUNCATED],
)
def test_slow_and_short_answers_get_one_more_try(code: Code) -> None:
    result, _, made = tries(*[Refused(code, "no")] * 5)
    assert (result, made) == (Failure(code, "no (tried 2 times)"), 2)


def test_one_more_try_is_shared_by_all_slow_failures() -> None:
    slow = [Refused(Code.TIMEOUT_READ, "a"), Refused(Code.HTTP_5XX, "b")]
    _, _, made = tries(*slow, Refused(Code.TRUNCATED, "c"), b"never")
    assert made == 3


def test_a_later_success_counts() -> None:
    result, pauses, _ = tries(Refused(Code.HTTP_5XX, "no"), b"bytes")
    assert result == b"bytes"
    assert len(pauses) == 1


def test_retry_after_is_waited_for() -> None:
    result, pauses, _ = tries(Refused(Code.HTTP_429, "no", retry_after=7), b"bytes")
    assert result == b"bytes"
    assert 7 <= pauses[0] <= 7.5


def test_a_long_retry_after_stops_at_once() -> None:
    result, pauses, made = tries(Refused(Code.HTTP_429, "HTTP 429", retry_after=31), b"never")
    assert result == Failure(Code.HTTP_429, "HTTP 429; asks to wait 31 s")
    assert (pauses, made) == ([], 1)


def test_no_try_begins_too_late() -> None:
    result, pauses, made = tries(*[Refused(Code.HTTP_5XX, "no", retry_after=29)] * 5)
    assert result == Failure(Code.HTTP_5XX, "no (tried 3 times)")
    assert (len(pauses), made) == (2, 3)


@given(st.integers(1, 5000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_up_to_the_cap(count: int, chance: float) -> None:
    policy = RetryPolicy(tries=10_000)
    pause = policy.pause([Refused(Code.HTTP_5XX, "no")] * count, chance)
    assert pause is not None
    assert 0 <= pause <= min(policy.cap, policy.base * 2 ** min(count - 1, 10))


def test_full_jitter_keeps_its_spread_at_the_cap() -> None:
    failures = [Refused(Code.HTTP_5XX, "no")] * 50
    policy = RetryPolicy(tries=100)
    assert policy.pause(failures, 0.0) == 0
    assert policy.pause(failures, 0.5) == policy.cap / 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("Sun, 22 Nov 2026 12:00:20 GMT", 20.0),
        ("Sun, 22 Nov 2026 12:00:20 -0000", 20.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 5000, float("inf")),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("\u00b2", None),
        ("Sun, 99 Nov 2026 12:00:20 GMT", None),
    ],
)
def test_retry_after_header(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_header_is_survived(text: str) -> None:
    parse_retry_after(text, NOW)
