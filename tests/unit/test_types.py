"""The small types: what is printed is one safe line, what is hashed is stable."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.types import DETAIL_LIMIT, TERMINAL, Failure, JobStatus, digest, encode_uris, printable


@given(st.text(max_size=700), st.integers(1, 400))
def test_whatever_a_server_says_becomes_one_bounded_printable_line(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert len(line) <= limit
    assert line.isprintable()
    assert line == line.strip()


def test_plain_text_is_left_alone() -> None:
    assert printable("Größe 3×4") == "Größe 3×4"
    assert printable("one\ntwo\x1b[31m") == "one two [31m"
    assert printable("a" * 10, 5) == "aaaa…"


@given(st.text(max_size=2000))
def test_a_failure_keeps_a_bounded_detail(text: str) -> None:
    assert len(Failure(Code.EMPTY, text).detail) <= DETAIL_LIMIT


@given(st.lists(st.text(max_size=20), max_size=5), st.lists(st.text(max_size=20), max_size=5))
def test_different_uris_have_different_digests(one: list[str], other: list[str]) -> None:
    same = digest(encode_uris(one)) == digest(encode_uris(other))
    assert same == (one == other)
    assert json.loads(encode_uris(one)) == one
    assert len(digest(encode_uris(one))) == 32


def test_a_job_has_four_ends() -> None:
    assert {status for status in JobStatus if status.terminal} == TERMINAL
    assert len(TERMINAL) == 4


def test_codes_are_words_that_stay() -> None:
    """They are in people's tables: a code may be added, none may be renamed."""
    assert {code.value for code in Code} >= {
        "uri_invalid", "uri_scheme", "uri_forbidden", "addr_forbidden", "redirect_forbidden",
        "too_many_redirects", "dns_not_found", "dns_timeout", "conn_failed", "tls_failed",
        "timeout_connect", "timeout_read", "timeout_total", "too_slow", "http_4xx", "http_429",
        "http_5xx", "path_forbidden", "not_a_file", "file_not_found", "permission", "read_failed",
        "empty", "too_large", "truncated", "not_an_image", "format_not_allowed", "decode_failed",
        "decode_timeout", "pixels_exceeded", "dimensions", "model_output", "model_unavailable",
        "worker_crash", "internal",
    }  # fmt: skip
    assert all(len(code) <= 32 for code in Code), "the column is 32 wide"
    assert Code.HTTP_5XX.transient
    assert not Code.HTTP_4XX.transient
    assert not Code.DECODE_FAILED.transient
