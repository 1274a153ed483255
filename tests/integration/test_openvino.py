"""OpenVINO takes several images in a call where the network lets it, and exactly one where not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.modelspec import read_model
from core.settings import read_settings
from tests.support.yard import furnish
from worker.engines.openvino import TOGETHER, load_openvino

if TYPE_CHECKING:
    from pathlib import Path

    from core.modelspec import ModelSpec

openvino = pytest.importorskip("openvino")

#: What `digits` takes, and how many labels it has.
SHAPE, LABELS = (32, 32, 1), 10


@pytest.fixture
def spec(converted: Path, tmp_path: Path) -> ModelSpec:
    furnish(tmp_path, converted)
    return read_model("digits", read_settings(home=tmp_path).models_path)


def network(folder: Path, rows: int, *, baked: bool) -> Path:
    """Write a network whose scores are an image's first ten pixels; `baked`: for so many rows only."""
    ops = openvino.opset8
    given = ops.parameter([rows, *SHAPE], np.uint8)
    flat = ops.reshape(given, np.array([rows if baked else -1, 32 * 32]), special_zero=False)
    places = (np.array([0, 0]), np.array([0, LABELS]), np.array([1, 1]))
    first = ops.strided_slice(flat, *places, begin_mask=[1, 0], end_mask=[1, 0])
    path = folder / "network.xml"
    openvino.save_model(openvino.Model([ops.convert(first, "f32")], [given]), path, False)
    return path


@pytest.mark.parametrize(
    ("rows", "baked", "size"),
    [(1, False, TOGETHER), (1, True, 1), (3, False, 3)],
    ids=["any", "one", "three"],
)
def test_however_many_fit_a_call_each_image_gets_its_scores(
    spec: ModelSpec, tmp_path: Path, rows: int, baked: bool, size: int
) -> None:
    engine = load_openvino(spec, network(tmp_path, rows, baked=baked), "single")
    assert engine.batch_size == size
    assert engine.embedding_size == 0
    pixels = np.random.default_rng(0).integers(0, 256, (2 * TOGETHER + 3, *SHAPE), np.uint8)
    for count in (1, 2, TOGETHER, len(pixels)):
        scores = engine.predict(pixels[:count])
        np.testing.assert_array_equal(scores, pixels[:count].reshape(count, -1)[:, :LABELS])
