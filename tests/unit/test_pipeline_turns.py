"""Beside a device: the next batch is filled while the model works on the last one."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from core.errors import Code
from core.types import Failure
from tests.unit.test_pipeline import ROOTS, Levels, Pictures, level, pipeline


def uris(count: int) -> list[str]:
    return [f"file:///{number}/{number % 10}" for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 4, 7, 8, 9, 23])
def test_the_answers_and_their_order_are_the_same(count: int) -> None:
    engine = Levels()
    stage = pipeline(Pictures(), engine, decode_threads=2)
    for _ in range(2):  # the batches of one chunk are those of the next
        outcomes = stage.classify(uris(count), ROOTS, 3).outcomes
        assert [level(outcome) for outcome in outcomes] == [n % 10 for n in range(count)]
    stage.close()
    assert sum(engine.batches) == 2 * count


def test_pictures_are_placed_while_the_model_works() -> None:
    placed = threading.Semaphore(0)
    engine = Levels()
    seen: Counter[int] = Counter()

    def busy(levels: list[int]) -> None:
        # The first batch is only answered once four more pictures were placed meanwhile.
        if not seen:
            seen["more"] = sum(placed.acquire(timeout=20) for _ in range(8))
        seen[len(seen)] = threading.get_ident()

    engine.refuse = busy
    stage = pipeline(Pictures(), engine, placed.release, decode_threads=2)
    outcomes = stage.classify(uris(16), ROOTS, 3).outcomes
    stage.close()
    assert [level(outcome) for outcome in outcomes] == [n % 10 for n in range(16)]
    assert seen["more"] == 8


def test_one_refused_batch_does_not_touch_its_neighbours() -> None:
    engine = Levels()

    def refuse(levels: list[int]) -> None:
        if 5 in levels:
            raise ValueError("no fives")

    engine.refuse = refuse
    stage = pipeline(Pictures(), engine, decode_threads=2)
    outcomes = stage.classify(uris(20), ROOTS, 3).outcomes
    stage.close()
    for number, outcome in enumerate(outcomes):
        if number % 10 == 5:
            assert isinstance(outcome, Failure)
            assert outcome.code is Code.MODEL_OUTPUT
        else:
            assert level(outcome) == number % 10


def test_a_chunk_given_up_leaves_nothing_for_the_next() -> None:
    engine = Levels()
    stage = pipeline(Pictures(), engine, decode_threads=2)
    calls = iter(range(100))

    def stop() -> None:
        if next(calls) == 10:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        stage.classify(uris(20), ROOTS, 3, stop)
    wanted = [f"file:///next/{number % 10}" for number in range(9)]
    outcomes = stage.classify(wanted[:], ROOTS, 3).outcomes
    stage.close()
    assert [level(outcome) for outcome in outcomes] == [n % 10 for n in range(9)]


def test_a_model_that_fails_every_image_is_raised() -> None:
    engine = Levels()

    def refuse(_: list[int]) -> None:
        raise RuntimeError("broken")

    engine.refuse = refuse
    stage = pipeline(Pictures(), engine, decode_threads=2)
    with pytest.raises(RuntimeError, match="broken"):
        stage.classify(uris(9), ROOTS, 3)
    stage.close()
