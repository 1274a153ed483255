"""Networks to serve: the models folder's own weights where there are any, else random ones.

Random weights take as long as trained ones, but cannot pass a self-check: the specs here have none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.workplace import workplace
from core.modelspec import read_model
from core.settings import read_settings

if TYPE_CHECKING:
    from core.modelspec import ModelSpec

_MAKE = """
import sys, keras
keras.utils.set_random_seed(0)
network = getattr(keras.applications, sys.argv[1])(weights=None)
network.save_weights(sys.argv[2])
"""


def models_dir(*names: str) -> Path:
    """Return a models folder that has weights for built-in models `names`."""
    folder = workplace("models")
    for name in names:
        built_in = read_model(name, read_settings().models_path)
        place = folder / name
        place.mkdir(exist_ok=True)
        (place / "model.toml").write_text(f'application = "{built_in.application}"\n')
        _weights(built_in, place / f"{name}.weights.h5")
    return folder


def _weights(built_in: ModelSpec, target: Path) -> None:
    if target.exists():
        return
    draft = target.with_name("draft.weights.h5")
    if built_in.weights.exists():
        shutil.copy(built_in.weights, draft)
    else:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}  # noqa: TID251
        command = [sys.executable, "-c", _MAKE, str(built_in.application), str(draft)]
        subprocess.run(command, check=True, env=environment, timeout=200)
    draft.replace(target)
