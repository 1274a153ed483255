"""Pipeline: one outcome per URI, in order, whatever its neighbours do."""

from __future__ import annotations

import threading
import time
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from blake3 import blake3
from PIL import Image

from core.errors import Code, SettingsError
from core.limits import ImageLimits
from core.modelparts import InputSpec, OutputSpec
from core.modelspec import ModelSpec
from core.types import Classified, Failure
from worker.pipeline import Pipeline, PipelineSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMITS = ImageLimits(("PNG", "JPEG"), 1_000_000, 2_000)
LABELS = tuple(f"level {index}" for index in range(10))
ROOTS = (Path("/pictures"),)


def picture(level: int) -> bytes:
    """A PNG of one grey, 20 times `level`."""
    buffer = BytesIO()
    Image.new("L", (12, 9), 20 * level).save(buffer, "PNG")
    return buffer.getvalue()


class Pictures:
    """A fetcher: the last number of the URI is the picture's level; `content` overrides."""

    def __init__(self, **content: object) -> None:
        self.content = content
        self.fetched: list[str] = []
        self.threads: set[str] = set()
        self.delay = 0.0
        self.under_way = 0
        self.most_under_way = 0
        self._lock = threading.Lock()

    def fetch(self, uri: str, roots: Sequence[Path]) -> bytes | Failure:
        assert roots == ROOTS
        with self._lock:
            self.fetched.append(uri)
            self.threads.add(threading.current_thread().name)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        time.sleep(self.delay)
        with self._lock:
            self.under_way -= 1
        name = uri.rpartition("/")[2]
        found = self.content.get(name)
        if isinstance(found, BaseException):
            raise found
        return picture(int(name)) if found is None else found


class Levels:
    """An engine that recognises the grey; `refuse` may raise for a batch."""

    embedding_size = 0

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self.batches: list[int] = []
        self.refuse: Callable[[list[int]], None] = lambda levels: None
        self.change: Callable[[np.ndarray, list[int]], np.ndarray] = lambda scores, levels: scores

    def predict(self, batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (8, 8, 3)
        levels = (batch[:, 0, 0, 0] // 20).tolist()
        self.batches.append(len(batch))
        self.refuse(levels)
        scores = np.full((len(batch), len(LABELS)), 0.01, np.float32)
        scores[np.arange(len(batch)), levels] = 0.9
        return self.change(scores, levels)


def pipeline(
    fetcher: Pictures, engine: Levels, beat: Callable[[], None] = lambda: None, **settings: object
) -> Pipeline:
    spec = ModelSpec(
        name="levels",
        description="",
        application=None,
        folder=Path(),
        weights=Path(),
        labels=LABELS,
        input=InputSpec(height=8, width=8),
        output=OutputSpec(),
        check=None,
    )
    return Pipeline(fetcher, engine, spec, PipelineSettings(LIMITS, **settings), beat)


def level(outcome: object) -> int:
    assert isinstance(outcome, Classified), outcome
    best = outcome.predictions[0]
    assert best.label == LABELS[best.class_index]
    assert best.score == pytest.approx(0.9)
    return best.class_index


@pytest.mark.parametrize("scheme", ["file:///p/", "FILE:///p/", "https://example.org/"])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_one_outcome_per_uri_in_order(scheme: str, count: int) -> None:
    wanted = [(7 * index) % 10 for index in range(count)]
    uris = [f"{scheme}{index}/{number}" for index, number in enumerate(wanted)]
    engine = Levels()
    stage = pipeline(Pictures(), engine)

    result = stage.classify(uris, ROOTS, 3)
    stage.close()

    assert [level(outcome) for outcome in result.outcomes] == wanted
    assert sum(engine.batches) == count
    assert engine.batches == [4] * (count // 4) + ([count % 4] if count % 4 else [])


def test_what_an_outcome_says() -> None:
    (outcome,) = pipeline(Pictures(), Levels()).classify(["file:///3"], ROOTS, 4).outcomes
    assert isinstance(outcome, Classified)
    assert (outcome.width, outcome.height) == (12, 9)
    assert outcome.content_hash == blake3(picture(3)).hexdigest(length=16)
    assert [p.class_index for p in outcome.predictions] == [3, 0, 1, 2]


def test_more_predictions_than_classes() -> None:
    (outcome,) = pipeline(Pictures(), Levels()).classify(["file:///3"], ROOTS, 50).outcomes
    assert len(outcome.predictions) == len(LABELS)


@pytest.mark.parametrize(("size", "wanted"), [(4, [4, 2]), (2, [2, 2, 2]), (9, [6])])
def test_batch_size(size: int, wanted: list[int]) -> None:
    engine = Levels(size)
    uris = [f"file:///{index}" for index in range(6)]
    pipeline(Pictures(), engine).classify(uris, ROOTS, 1)
    assert engine.batches == wanted


def test_failures_are_values_and_neighbours_never_notice() -> None:
    refused = Failure(Code.HTTP_4XX, "404")
    fetcher = Pictures(
        gone=refused, html=b"<html>", empty=b"", cut=picture(1)[:45], bug=KeyError("oops")
    )
    uris = [
        f"{scheme}{name}"
        for scheme in ("file:///", "https://example.org/")
        for name in ("1", "gone", "2", "html", "3", "empty", "cut", "bug", "4")
    ]
    stage = pipeline(fetcher, Levels())

    outcomes = stage.classify(uris, ROOTS, 1).outcomes
    stage.close()

    for half in (outcomes[:9], outcomes[9:]):
        assert [level(half[index]) for index in (0, 2, 4, 8)] == [1, 2, 3, 4]
        assert half[1] == refused
        codes = [half[index].code for index in (3, 5, 6)]
        assert codes == [Code.NOT_AN_IMAGE, Code.EMPTY, Code.DECODE_FAILED]
        assert half[7] == Failure(Code.INTERNAL, "fetch: KeyError: 'oops'")


def test_an_unexpected_error_in_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    import worker.pipeline

    def broken(data: bytes, *rest: object) -> object:
        if data == picture(2):
            raise LookupError("no such thing")
        return real(data, *rest)

    real = worker.pipeline.decode
    monkeypatch.setattr(worker.pipeline, "decode", broken)
    outcomes = pipeline(Pictures(), Levels()).classify(["file:/1", "file:/2"], ROOTS, 1).outcomes
    assert level(outcomes[0]) == 1
    assert outcomes[1] == Failure(Code.INTERNAL, "decode: LookupError: no such thing")


def test_a_uri_given_twice_is_done_once() -> None:
    fetcher, engine = Pictures(), Levels()
    uris = ["file:///1", "file:///2", "file:///1", "file:///x", "file:///x"]
    fetcher.content["x"] = Failure(Code.FILE_NOT_FOUND, "")

    outcomes = pipeline(fetcher, engine).classify(uris, ROOTS, 1).outcomes

    assert fetcher.fetched == ["file:///1", "file:///2", "file:///x"]
    assert engine.batches == [2]
    assert outcomes[0] == outcomes[2]
    assert outcomes[3] == outcomes[4] == fetcher.content["x"]


def test_files_are_read_in_the_same_thread_and_the_rest_in_others() -> None:
    fetcher = Pictures()
    stage = pipeline(fetcher, Levels())
    stage.classify(["file:///1"], ROOTS, 1)
    assert fetcher.threads == {threading.current_thread().name}
    assert not any(thread.name.startswith("fetch") for thread in threading.enumerate())
    stage.classify(["s3://bucket/1"], ROOTS, 1)
    stage.close()
    assert any(name.startswith("fetch") for name in fetcher.threads)


def test_look_ahead_is_bounded() -> None:
    fetcher, engine = Pictures(), Levels(batch_size=2)
    seen: list[int] = []
    engine.refuse = lambda levels: seen.append(len(fetcher.fetched))
    uris = [f"https://example.org/{index}/1" for index in range(40)]
    stage = pipeline(fetcher, engine, fetch_ahead=3)

    stage.classify(uris, ROOTS, 1)
    stage.close()

    assert fetcher.most_under_way <= 3
    assert all(fetched <= 2 * calls + 3 for calls, fetched in enumerate(seen, 1))


def test_an_engine_of_one_image_is_called_with_one_and_offenders_stay_alone() -> None:
    fetcher, engine = Pictures(), Levels(batch_size=1)

    def refuse(levels: list[int]) -> None:
        if levels == [3]:
            raise ValueError("no threes")

    engine.refuse = refuse
    beats: list[int] = []
    stage = pipeline(fetcher, engine, lambda: beats.append(len(engine.batches)))
    uris = [f"file:///{index}/{index % 10}" for index in range(20)]

    outcomes = stage.classify(uris, ROOTS, 1).outcomes

    assert set(engine.batches) == {1}
    assert all(after - before <= 1 for before, after in pairwise(beats)), "a beat after every call"
    for index, outcome in enumerate(outcomes):
        if index % 10 == 3:
            assert isinstance(outcome, Failure)
            assert outcome.code is Code.MODEL_OUTPUT
        else:
            assert level(outcome) == index % 10


def test_decode_threads_give_the_same_answers_and_look_two_batches_ahead() -> None:
    fetcher, engine = Pictures(broken=b"<html>", gone=Failure(Code.HTTP_4XX, "HTTP 404")), Levels()
    seen: list[int] = []
    engine.refuse = lambda levels: seen.append(len(fetcher.fetched))
    names = [str(index % 10) for index in range(40)]
    names[7], names[19] = "broken", "gone"
    uris = [f"file:///{index}/{name}" for index, name in enumerate(names)]
    stage = pipeline(fetcher, engine, fetch_ahead=1, decode_threads=2)

    result = stage.classify(uris, ROOTS, 1)
    stage.close()

    plain = pipeline(Pictures(**fetcher.content), Levels()).classify(uris, ROOTS, 1)
    assert list(result.outcomes) == list(plain.outcomes)
    assert 1 <= len(fetcher.threads) <= 2
    assert threading.current_thread().name not in fetcher.threads
    # A batch is predicted, the next is filled, two more are under way; two pictures are in none.
    assert all(fetched <= 4 * done + 3 * 4 + 2 for done, fetched in enumerate(seen, 1))
    assert result.seconds.decode > 0


def test_a_slow_server_does_not_hold_the_others_up() -> None:
    release = threading.Event()

    class Slow(Pictures):
        def fetch(self, uri: str, roots: Sequence[Path]) -> bytes | Failure:
            if uri.endswith("/9"):
                release.wait(10)
            return super().fetch(uri, roots)

    engine = Levels(batch_size=1)
    done: list[int] = []

    def notice(levels: list[int]) -> None:
        done.extend(levels)
        if len(done) == 8:
            release.set()

    engine.refuse = notice
    stage = pipeline(Slow(), engine, fetch_ahead=2)
    outcomes = stage.classify([f"http://h/{n}" for n in range(9, 0, -1)], ROOTS, 1).outcomes
    stage.close()

    assert done[-1] == 9
    assert [level(outcome) for outcome in outcomes] == list(range(9, 0, -1))


@pytest.mark.parametrize("error", [ValueError("bad picture"), MemoryError()])
def test_an_engine_that_raises_costs_the_offender_alone(error: Exception) -> None:
    def refuse(levels: list[int]) -> None:
        if 5 in levels:
            raise error

    engine = Levels(batch_size=8)
    engine.refuse = refuse
    uris = [f"file:///{index}" for index in range(10)]

    outcomes = pipeline(Pictures(), engine).classify(uris, ROOTS, 1).outcomes

    text = f"{type(error).__name__}: {error}"
    assert outcomes.pop(5) == Failure(Code.MODEL_OUTPUT, text)
    assert [level(outcome) for outcome in outcomes] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_a_batch_too_large_for_the_device_is_halved() -> None:
    def refuse(levels: list[int]) -> None:
        if len(levels) > 2:
            raise MemoryError("device")

    engine = Levels(batch_size=8)
    engine.refuse = refuse
    uris = [f"file:///{index}" for index in range(8)]
    outcomes = pipeline(Pictures(), engine).classify(uris, ROOTS, 1).outcomes
    assert [level(outcome) for outcome in outcomes] == list(range(8))


def test_an_engine_that_raises_for_all_is_raised() -> None:
    def refuse(levels: list[int]) -> None:
        raise OSError("device lost")

    engine = Levels()
    engine.refuse = refuse
    uris = ["file:///1", "file:///2", "file:///x"]
    with pytest.raises(OSError, match="device lost"):
        pipeline(Pictures(x=b"text"), engine).classify(uris, ROOTS, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_no_labels(bad: float) -> None:
    def change(scores: np.ndarray, levels: list[int]) -> np.ndarray:
        scores[[index for index, found in enumerate(levels) if found == 2], 7] = bad
        return scores

    engine = Levels()
    engine.change = change
    uris = ["file:///1", "file:///2", "file:///3"]
    outcomes = pipeline(Pictures(), engine).classify(uris, ROOTS, 1).outcomes
    assert outcomes[1] == Failure(Code.MODEL_OUTPUT, "scores are not finite numbers")
    assert [level(outcomes[0]), level(outcomes[2])] == [1, 3]


def test_a_row_too_few_never_shifts_labels() -> None:
    engine = Levels()
    engine.change = lambda scores, levels: scores[1:]
    with pytest.raises(ValueError, match=r"answered \(0, 10\) instead of \(1, 10\)"):
        pipeline(Pictures(), engine).classify(["file:///1", "file:///2"], ROOTS, 1)


def test_stop_hands_the_chunk_back_and_the_next_one_works() -> None:
    class StopError(Exception):
        pass

    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise StopError

    fetcher, engine = Pictures(), Levels(batch_size=2)
    stage = pipeline(fetcher, engine, fetch_ahead=2)
    uris = [f"https://example.org/{index}/{index % 10}" for index in range(100)]
    with pytest.raises(StopError):
        stage.classify(uris, ROOTS, 1, stop)
    assert engine.batches == [2, 2]
    assert len(fetcher.fetched) < 10
    assert level(stage.classify(["file:///6"], ROOTS, 1).outcomes[0]) == 6
    stage.close()


@pytest.mark.parametrize("scheme", ["file:///", "http://h/"])
def test_exceptions_to_pass_on_are_never_a_failure(scheme: str) -> None:
    class TimeLimitError(Exception):
        pass

    def refuse(levels: list[int]) -> None:
        if 3 in levels:
            raise TimeLimitError

    fetcher, engine = Pictures(x=TimeLimitError()), Levels()
    engine.refuse = refuse
    stage = pipeline(fetcher, engine, pass_on=(TimeLimitError,))
    for name in ("x", "3"):
        with pytest.raises(TimeLimitError):
            stage.classify([f"{scheme}1", f"{scheme}{name}"], ROOTS, 1)
    stage.close()


def test_a_time_limit_in_decode_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import worker.pipeline

    class TimeLimitError(Exception):
        pass

    def late(*args: object) -> None:
        raise TimeLimitError

    monkeypatch.setattr(worker.pipeline, "decode", late)
    with pytest.raises(TimeLimitError):
        pipeline(Pictures(), Levels(), pass_on=(TimeLimitError,)).classify(["file:/1"], ROOTS, 1)


def test_seconds_and_beats() -> None:
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    fetcher, engine = Pictures(), Levels(batch_size=2)
    fetcher.delay = 0.02
    engine.refuse = lambda levels: time.sleep(0.03)
    stage = pipeline(fetcher, engine, beat)

    seconds = stage.classify(["file:///1", "file:///2", "https://h/3"], ROOTS, 1).seconds
    stage.close()

    assert seconds.fetch >= 0.04  # the third came meanwhile
    assert 0 < seconds.decode < 0.05
    assert 0.06 <= seconds.predict < 0.5
    assert seconds.record == 0
    assert beats == 5


def test_an_unknown_format_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError):
        Pipeline(
            Pictures(),
            Levels(),
            None,
            PipelineSettings(ImageLimits(("NONSENSE",), 1, 1)),
        )
