"""Top-k against a full sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from worker.topk import finite_rows, top_k

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
FLOATS = st.floats(width=32, allow_nan=False)
FEW = st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 0.25, 1.0, np.inf])


@given(arrays(np.float32, SHAPES, elements=FLOATS | FEW), st.integers(1, 50))
def test_equals_a_full_sort(scores: np.ndarray, k: int) -> None:
    indices, best = top_k(scores, k)

    wanted = [
        sorted(range(len(row)), key=lambda index, row=row: (-row[index], index))[:k]
        for row in scores.tolist()
    ]
    assert indices.tolist() == wanted
    assert best.dtype == np.float32
    np.testing.assert_array_equal(best, np.take_along_axis(scores, indices, axis=1))


def test_equal_scores_come_in_the_order_of_the_classes() -> None:
    indices, _ = top_k(np.zeros((2, 1000), np.float32), 3)
    assert indices.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_more_than_there_are() -> None:
    indices, best = top_k(np.array([[0.25, 0.5]], np.float32), 5)
    assert indices.tolist() == [[1, 0]]
    assert best.tolist() == [[0.5, 0.25]]


def test_no_rows() -> None:
    indices, best = top_k(np.empty((0, 7), np.float32), 3)
    assert indices.shape == best.shape == (0, 3)


def test_the_input_is_left_alone() -> None:
    scores = np.random.default_rng(0).random((3, 9), dtype=np.float32)
    before = scores.copy()
    top_k(scores, 2)
    np.testing.assert_array_equal(scores, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite_rows(bad: float) -> None:
    scores = np.ones((3, 4), np.float32)
    scores[1, 2] = bad
    assert finite_rows(scores).tolist() == [True, False, True]
