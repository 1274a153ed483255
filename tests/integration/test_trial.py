"""Where two engines can run a model, the faster one is found when it is prepared, and serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core import trial
from core.modelspec import read_model
from core.prepare import prepare_model, prepared_file
from core.settings import read_settings
from tests.support.yard import furnish
from worker.engines.choose import load_engine

if TYPE_CHECKING:
    from pathlib import Path

#: What `digits` takes.
SHAPE = (32, 32, 1)

pytestmark = pytest.mark.filterwarnings("default:.*:DeprecationWarning:ai_edge_litert")


@pytest.mark.tensorflow
def test_the_faster_of_two_engines_is_found_once_and_serves(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tmp_path, converted)
    settings = read_settings(home=tmp_path, engine="auto")
    spec = read_model("digits", settings.models_path)
    kept = trial.trial_file(prepared_file(spec, settings))
    kept.unlink(missing_ok=True)
    prepare_model(spec, settings)
    found = json.loads(kept.read_text("utf-8"))
    assert found["litert"] > 0
    assert found["openvino"] > 0
    first = kept.stat().st_ino
    prepare_model(spec, settings)
    assert kept.stat().st_ino == first
    pixels = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
    scores = []
    for taken, name in (("litert", "LiteRTEngine"), ("openvino", "OpenVINOEngine")):
        kept.write_text(json.dumps({**found, "taken": taken}), "utf-8")
        engine = load_engine(spec, settings)
        assert type(engine).__name__ == name
        scores.append(engine.predict(pixels))
    np.testing.assert_allclose(*scores, atol=1e-4)
    # An OpenVINO that cannot even be imported stands in nobody's way.
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "openvino.py").write_text("raise RuntimeError('no such library')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    kept.unlink()
    prepare_model(spec, settings)
    assert json.loads(kept.read_text("utf-8"))["openvino"] is None
    assert "no such library" in (kept.parent / "prepare.log").read_text("utf-8")
