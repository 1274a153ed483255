"""Keep what a job needs to go on when its model is replaced (`core.kept` reads it)."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from core.kept import copy_of, describe_kept, description_of
from worker.engines.drafts import publishing

if TYPE_CHECKING:
    from pathlib import Path

    from core.modelspec import ModelSpec


def describe(spec: ModelSpec, target: Path) -> None:
    """Write what else is needed to answer with a network, before the network itself is there."""
    with publishing(description_of(target)) as draft:
        draft.write_text(describe_kept(spec), "utf-8")


def keep_copy(spec: ModelSpec, target: Path) -> None:
    """Copy a network that Keras serves.

    A copy that was cut short has another fingerprint, so it is never taken for the model.
    """
    folder = copy_of(target)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    copy = shutil.copytree if spec.weights.is_dir() else shutil.copyfile
    copy(spec.weights, folder / spec.weights.name)
