"""An engine that is not installed is refused before anything is enqueued or served."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from core.errors import ClassyardError
from core.prepare import require_engine
from core.settings import read_settings

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


def test_an_engine_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_engine(read_settings(engine="openvino"))

    def missing(name: str) -> ModuleSpec | None:
        return None if name == "openvino" else find_spec(name)

    monkeypatch.setattr("core.prepare.find_spec", missing)
    require_engine(read_settings(engine="litert"))
    with pytest.raises(ClassyardError, match=r"pip install 'classyard\[openvino\]'"):
        require_engine(read_settings(engine="openvino"))
