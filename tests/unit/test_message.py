"""The message is untrusted: only what a producer of this version writes is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import digest, encode_uris
from worker.message import LONGEST_URI, MOST_URIS, BadMessageError, ChunkMessage, read_message

URIS = ["http://a/1.jpg", "file:///ü.png"]
GOOD: dict[str, Any] = {
    "v": 1, "job_id": 3, "chunk_id": 7, "digest": digest(encode_uris(URIS)), "uris": URIS,
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def with_uris(uris: list[Any]) -> dict[str, Any]:
    return {**GOOD, "uris": uris, "digest": digest(encode_uris(uris))}


def test_what_a_producer_writes_is_read() -> None:
    assert read_message(GOOD) == ChunkMessage(3, 7, GOOD["digest"], URIS)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "unknown or missing fields"),
        ({k: v for k, v in GOOD.items() if k != "v"}, "unknown or missing fields"),
        ({**GOOD, "more": 1}, "unknown or missing fields"),
        ({**GOOD, "v": 2}, "unknown version"),
        ({**GOOD, "job_id": "3"}, "wrong types"),
        ({**GOOD, "job_id": True}, "wrong types"),
        ({**GOOD, "chunk_id": 7.0}, "wrong types"),
        ({**GOOD, "uris": "http://a/1.jpg"}, "wrong types"),
        ({**GOOD, "job_id": 0}, "out of range"),
        ({**GOOD, "chunk_id": 2**31}, "out of range"),
        (with_uris([]), "out of range"),
        (with_uris(["a"] * (MOST_URIS + 1)), "out of range"),
        (with_uris(["a" * (LONGEST_URI + 1)]), "no text or too long"),
        (with_uris([7]), "no text or too long"),
        ({**GOOD, "uris": URIS[::-1]}, "digest"),
        ({**GOOD, "digest": None}, "digest"),
    ],
)
def test_anything_else_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadMessageError, match=why):
        read_message(fields)


@given(st.dictionaries(st.sampled_from([*GOOD, "more"]), ANYTHING))
def test_nonsense_is_refused_and_nothing_worse(fields: dict[str, Any]) -> None:
    for junk in (fields, {**GOOD, **fields}):
        try:
            message = read_message(junk)
        except BadMessageError:
            continue
        assert message.digest == digest(encode_uris(message.uris))
