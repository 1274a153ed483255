"""Of two engines the faster one is taken where it was tried; where nothing is known, LiteRT."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core import trial
from core.modelspec import read_model
from core.settings import read_settings
from worker.engines.trial import compare

if TYPE_CHECKING:
    from pathlib import Path

    from core.settings import Settings
    from worker.engines.base import Engine


@pytest.fixture
def auto(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path, engine="auto")


@dataclass
class Sleeper:
    """Takes its time, and answers as it was told."""

    seconds: float
    score: float = 0.5
    batch_size: int = 1
    embedding_size: int = 0

    def predict(self, batch: Any) -> Any:
        time.sleep(self.seconds)
        return np.full((len(batch), 2), self.score, np.float32)


@pytest.mark.parametrize(
    ("litert", "openvino", "taken"),
    [
        (Sleeper(0.02), Sleeper(0.004), "openvino"),
        (Sleeper(0.004), Sleeper(0.02), "litert"),
        (Sleeper(0.02), Sleeper(0.004, score=0.501), "litert"),
        (Sleeper(0.02), Sleeper(0.004, score=float("nan")), "litert"),
    ],
)
def test_the_rival_must_be_faster_and_answer_the_same(
    litert: Engine, openvino: Engine, taken: str, auto: Settings
) -> None:
    found = compare(litert, openvino, read_model("digits", auto.models_path))
    assert found.taken == taken
    assert found.litert > 0.003
    assert found.openvino is not None


def tried(prepared: Path, taken: str) -> None:
    file = trial.trial_file(prepared)
    file.write_text(trial.written(trial.Trial(taken, 2.0, 1.0, "")), "utf-8")  # type: ignore[arg-type]


def test_what_was_tried_here_is_taken(
    auto: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = tmp_path / "f00-2.tflite"
    assert trial.due(prepared, auto)
    assert trial.runner(prepared, auto) == "litert"
    tried(prepared, "openvino")
    assert not trial.due(prepared, auto)
    assert trial.runner(prepared, auto) == "openvino"
    assert trial.runner(prepared, read_settings(home=tmp_path, engine="litert")) == "litert"
    # The same HOME on another processor: not known there.
    (tmp_path / "cpuinfo").write_text("model name\t: Another 9000\n")
    monkeypatch.setattr(trial, "_PROCESSORS", tmp_path / "cpuinfo")
    assert trial.processor() == "Another 9000"
    assert trial.due(prepared, auto)
    assert trial.runner(prepared, auto) == "litert"


@pytest.mark.parametrize("words", ["", "{", "[]", "{}", json.dumps({"taken": "magic"})])
def test_a_trial_that_cannot_be_read_is_none(auto: Settings, tmp_path: Path, words: str) -> None:
    prepared = tmp_path / "f00-2.tflite"
    trial.trial_file(prepared).write_text(words)
    assert trial.runner(prepared, auto) == "litert"


def test_there_is_nothing_to_try_where_one_engine_is_missing_or_named(
    auto: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = tmp_path / "f00-2.tflite"
    for engine in ("litert", "openvino", "keras", "stub"):
        assert not trial.due(prepared, read_settings(home=tmp_path, engine=engine))
    assert trial.runner(prepared, read_settings(home=tmp_path, engine="openvino")) == "openvino"
    assert not trial.due(tmp_path / "nowhere" / prepared.name, auto)
    tried(prepared, "openvino")
    monkeypatch.setattr(trial, "find_spec", lambda n: None if n == "openvino" else find_spec(n))
    assert trial.runner(prepared, auto) == "litert"
