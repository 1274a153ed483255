"""Stub: the right label for every URI, and every fault on demand."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from time import perf_counter

import pytest

from core.errors import Code
from core.types import Classified, Failure
from worker.stub import StubClassifier, expected

LABELS = tuple(f"label {index}" for index in range(37))


@pytest.fixture
def stub() -> StubClassifier:
    return StubClassifier(LABELS)


def test_every_uri_gets_the_expected_label(stub: StubClassifier) -> None:
    uris = [f"https://example.org/{index}.jpg" for index in range(500)] + ["", "\udcff", "ü"]

    result = stub.classify(uris, (), 3)

    assert len(result.outcomes) == len(uris)
    for uri, outcome in zip(uris, result.outcomes, strict=True):
        assert isinstance(outcome, Classified)
        best = outcome.predictions[0]
        assert best.class_index == expected(uri, LABELS)
        assert best.label == LABELS[best.class_index]
        assert len({prediction.class_index for prediction in outcome.predictions}) == 3
        assert all(a.score > b.score > 0 for a, b in pairwise(outcome.predictions))
    assert len({outcome.content_hash for outcome in result.outcomes}) == len(uris)
    assert len({expected(uri, LABELS) for uri in uris}) == len(LABELS)


def test_the_same_again(stub: StubClassifier) -> None:
    uris = ["a", "b", "a"]
    first = stub.classify(uris, (), 2).outcomes
    assert first == StubClassifier(LABELS).classify(uris, (), 2).outcomes
    assert first[0] == first[2] != first[1]


def test_no_more_predictions_than_labels(stub: StubClassifier) -> None:
    (outcome,) = stub.classify(["a"], (), 99).outcomes
    assert len(outcome.predictions) == len(LABELS)


def test_stop_hands_the_chunk_back(stub: StubClassifier) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        stub.classify(["a"], (), 1, stop)


def test_faults_that_are_answers(stub: StubClassifier) -> None:
    start = perf_counter()
    outcomes = stub.classify(["stub://fail/http_4xx/7", "stub://sleep/0.05/8", "a"], (), 1).outcomes
    assert perf_counter() - start >= 0.05
    assert outcomes[0] == Failure(Code.HTTP_4XX, "asked for by the URI")
    assert all(isinstance(outcome, Classified) for outcome in outcomes[1:])


@pytest.mark.parametrize(("word", "error"), [("raise", RuntimeError), ("oom", MemoryError)])
def test_faults_of_the_whole_chunk(stub: StubClassifier, word: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        stub.classify(["a", f"stub://{word}/1"], (), 1)


def run(uri: str, timeout: float = 20) -> int:
    code = f"from worker.stub import StubClassifier as S; S(['a']).classify(['b', {uri!r}], (), 1)"
    return subprocess.run([sys.executable, "-c", code], timeout=timeout, check=False).returncode


def test_faults_of_the_process() -> None:
    assert run("stub://crash/1") == 9
    assert run("stub://segv/1") == -11
    with pytest.raises(subprocess.TimeoutExpired):
        run("stub://hang/1", 1)


def test_close(stub: StubClassifier) -> None:
    stub.close()
