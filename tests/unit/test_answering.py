"""Scores become labels: by rank, by one threshold, by a threshold per label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.modelparts import InputSpec, OutputSpec
from core.modelspec import ModelSpec
from worker.answering import Answering

Answer = list[tuple[str, float]]


def answer(labels: str, scores: list[float], k: int = 5, **output: object) -> Answer:
    spec = ModelSpec(
        name="mine",
        description="",
        application=None,
        folder=Path(),
        weights=Path(),
        labels=tuple(labels.split()),
        input=InputSpec(height=8, width=8),
        output=OutputSpec.model_validate(output),
        check=None,
    )
    answering = Answering(spec)
    assert answering.classes == len(spec.labels)
    (found,) = answering.answer(np.array([scores], np.float32), k)
    named = (*spec.labels, spec.output.none)
    assert [one.label for one in found] == [named[one.class_index] for one in found]
    return [(one.label, pytest.approx(one.score, abs=1e-6)) for one in found]


def test_without_thresholds_the_best_come_first() -> None:
    assert answer("a b c", [0.2, 0.5, 0.3], 2) == [("b", 0.5), ("c", 0.3)]
    assert answer("a b c", [0.9, 0.8, 0.1], activation="sigmoid")[1] == ("b", 0.8)


@pytest.mark.parametrize(
    ("score", "threshold", "label"),
    [(0.4, 0.3, "yes"), (0.4, 0.5, "no"), (0.3, 0.3, "yes"), (0.8, 0.9, "no"), (0.6, None, "yes")],
)
def test_a_binary_threshold_decides_which_label_is_first(
    score: float, threshold: float | None, label: str
) -> None:
    found = answer("no yes", [1 - score, score], activation="sigmoid", threshold=threshold)
    assert found[0] == (label, score if label == "yes" else 1 - score)
    assert len(found) == 2


def test_a_threshold_serves_a_softmax_of_two_as_well() -> None:
    assert answer("no yes", [0.6, 0.4], kind="binary", threshold=0.3)[0] == ("yes", 0.4)


def test_all_labels_that_reach_their_thresholds_are_given() -> None:
    sigmoid = {"activation": "sigmoid", "threshold": 0.5}
    assert answer("a b c", [0.5, 0.9, 0.4], **sigmoid) == [("b", 0.9), ("a", 0.5)]
    assert answer("a b c", [0.5, 0.9, 0.4], 1, **sigmoid) == [("b", 0.9)]
    own = {**sigmoid, "thresholds": {"b": 0.95, "c": 0.1}}
    assert answer("a b c", [0.5, 0.9, 0.4], **own) == [("a", 0.5), ("c", 0.4)]


def test_no_label_at_all_is_an_answer_too() -> None:
    sigmoid = {"activation": "sigmoid", "threshold": 0.5}
    assert answer("a b c", [0.1, 0.2, 0.05], **sigmoid) == [("none", 0.8)]
    assert answer("a", [0.2], none="nothing", **sigmoid) == [("nothing", 0.8)]
