"""The pipeline asks whether an answer is known, and decodes and predicts only what is not."""

from __future__ import annotations

import pytest
from blake3 import blake3

from core.types import Classified, Prediction
from tests.unit.test_pipeline import ROOTS, Levels, Pictures, level, picture, pipeline

KNOWN = Classified((Prediction(7, "known", 0.5),), 1, 2, "there")


@pytest.mark.parametrize("threads", [0, 2])
def test_what_is_known_is_not_predicted(threads: int) -> None:
    engine = Levels()
    asked: list[str] = []
    second = blake3(picture(2)).hexdigest(length=16)

    def reuse(content_hash: str) -> Classified | None:
        asked.append(content_hash)
        return KNOWN if content_hash == second else None

    made = pipeline(Pictures(broken=b"no picture"), engine, decode_threads=threads)
    uris = [f"http://h/{name}" for name in ("1", "2", "3", "broken", "2")]
    outcomes = made.classify(uris, ROOTS, 3, None, reuse).outcomes
    made.close()
    assert [level(outcomes[0]), outcomes[1], level(outcomes[2]), outcomes[4]] == [
        1,
        KNOWN,
        3,
        KNOWN,
    ]
    assert len(asked) == 4  # each content once, broken ones too
    assert sum(engine.batches) == 2
