"""What the acceptance tests share: homes in which the real models are ready to be served."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.modelspec import read_model
from core.prepare import prepare_model
from core.settings import read_settings
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def converted() -> Iterator[Path]:
    """A HOME whose converted models every test links to: a conversion takes ten seconds."""
    path = Path(tempfile.mkdtemp(prefix="cy-converted-"))
    prepare_model(read_model("digits", path / "models"), read_settings(home=path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def photo_models(converted: Path, shared: Path) -> Path:
    """The folder of the shared models, MobileNetV2 ready in `converted`."""
    models = shared / "models"
    settings = read_settings(home=converted, models_dir=models)
    prepare_model(read_model("mobilenet_v2", models), settings)
    return models


def furnish(home: Path, converted: Path) -> None:
    """Put the converted models into a HOME."""
    shutil.copytree(converted / "converted", home / "converted", copy_function=os.link)


@pytest.fixture
def ready(home: Path, converted: Path) -> Yard:
    """A machine of its own: nothing runs, nothing is set but HOME, the digits are ready."""
    furnish(home, converted)
    return Yard(read_settings(home=home, concurrency=2))


def left_over(home: Path) -> list[str]:
    """Return the command lines of processes that belong to a HOME."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"CLASSYARD_HOME={home}".encode() in environment:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
