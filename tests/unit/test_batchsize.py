"""The Keras engine when a device's memory is short; no network is needed for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from worker.engines.batchsize import BatchSize
from worker.engines.keras import KerasEngine, out_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from worker.engines.device import Wait


class Device:
    """A device with memory for so many images; stands in for a GPU, which tests cannot count on."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.calls: list[int] = []
        self.answered: list[int] = []

    def begin(self, batch: NDArray[np.uint8]) -> Wait:
        self.calls.append(len(batch))
        held = sum(self.calls) - sum(self.answered)
        if held > self.room:
            self.answered = list(self.calls)
            raise RuntimeError("RESOURCE_EXHAUSTED: failed to allocate 8 GiB")

        def wait() -> NDArray[np.float32]:
            self.answered.append(len(batch))
            return batch[:, 0, 0, :].astype(np.float32)

        return wait


def numbered(count: int) -> NDArray[np.uint8]:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


def test_a_batch_that_does_not_fit_is_halved_and_remembered(tmp_path: Path) -> None:
    device, memory = Device(room=5), tmp_path / "sizes" / "model-gpu0.json"
    engine = KerasEngine(device.begin, BatchSize(16, memory))
    assert engine.predict(numbered(10))[:, 0].tolist() == list(range(10))
    assert engine.batch_size == 4
    assert device.calls == [16, 8, 4, 4, 4]  # and always the same shape, padded
    assert BatchSize(16, memory).now == 4
    assert BatchSize(2, memory).now == 2


def test_a_size_that_cannot_be_remembered_counts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()  # refuses root, too, as the read-only folder of a container does
    size = BatchSize(16, tmp_path / "file" / "model-gpu0.json")
    size.halve()
    assert size.now == 8


def test_two_calls_are_in_flight_and_must_fit_together(tmp_path: Path) -> None:
    device, memory = Device(room=8), tmp_path / "size.json"
    engine = KerasEngine(device.begin, BatchSize(8, memory), in_flight=2)
    assert engine.batch_size == 16
    assert engine.predict(numbered(19))[:, 0].tolist() == list(range(19))
    assert engine.batch_size == 8
    assert device.calls == [8, 8, 4, 4, 4, 4, 4]
    device.room = 4  # somebody else took the rest
    assert engine.predict(numbered(3))[:, 0].tolist() == [0, 1, 2]
    assert device.calls[7:] == [4]


def test_a_single_image_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    engine = KerasEngine(Device(room=0).begin, BatchSize(2, tmp_path / "size.json"))
    with pytest.raises(MemoryError, match="one image does not fit"):
        engine.predict(numbered(2))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"batch_size": "x"}', '{"batch_size": 0}'])
def test_a_spoilt_memory_is_no_memory(tmp_path: Path, content: str) -> None:
    (tmp_path / "size.json").write_text(content, "utf-8")
    assert BatchSize(8, tmp_path / "size.json").now == 8


def test_other_errors_are_not_taken_for_full_memory() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory(ValueError("wrong shape"))
