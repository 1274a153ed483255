"""Whatever a message says, it is read as a work order of ours or refused; nothing else happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.types import digest, encode_uris
from worker.message import LONGEST_URI, MOST_URIS, BadMessageError, ChunkMessage, read_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
FIELDS = ("v", "job_id", "chunk_id", "digest", "uris")


def order(uris: list[str], **changes: Any) -> dict[str, Any]:
    fields = {"v": 1, "job_id": 1, "chunk_id": 1, "digest": digest(encode_uris(uris)), "uris": uris}
    return {**fields, **changes}


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), JSON, max_size=7))
@settings(max_examples=300, deadline=None)
def test_any_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessageError):
        read_message(fields)


@given(st.sampled_from(FIELDS), JSON)
@settings(max_examples=400, deadline=None)
def test_one_wrong_field_is_enough(name: str, value: Any) -> None:
    good = order(["http://h/a"])
    if type(value) is int and name != "v":
        value = -abs(value)
    if value == good[name] and type(value) is type(good[name]):
        return
    with pytest.raises(BadMessageError):
        read_message({**good, name: value})


@given(st.lists(st.text(max_size=50), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None)
def test_ours_arrive_as_they_were_written(uris: list[str]) -> None:
    sent = json.loads(json.dumps(order(uris)))
    assert read_message(sent) == ChunkMessage(1, 1, digest(encode_uris(uris)), uris)


def test_the_bounds() -> None:
    longest = "x" * LONGEST_URI
    assert read_message(order([longest] * 2)).uris == [longest] * 2
    for uris in ([], [longest + "x"], ["x"] * (MOST_URIS + 1)):
        with pytest.raises(BadMessageError):
            read_message(order(uris))
    for name in ("job_id", "chunk_id"):
        for value in (0, -1, 2**31, True, 1.0, "1"):
            with pytest.raises(BadMessageError):
                read_message(order(["x"], **{name: value}))
