"""Preparing a model: what it leaves behind is the prepared model."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from core.modelspec import read_model
from core.prepare import prepare_model, prepared_file
from core.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.tensorflow
def test_no_file_is_left_among_the_temporary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # Python asks the environment only once
    settings = read_settings(home=tmp_path / "home", engine="litert")
    spec = prepare_model(read_model("digits", settings.models_path), settings)
    assert prepared_file(spec, settings).exists()
    assert not list(temporary.iterdir())
