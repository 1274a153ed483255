"""Models by name: the user's folders, those shipped, and every classifier of `keras.applications`.

Knows files and words only. Building and running the network is the engines' business.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from core.applications import APPLICATIONS, CHECKS, Application, find_application
from core.errors import ModelError
from core.model import ModelSpec, missing_weights
from core.modeldocument import (
    CATALOG,
    IMAGENET,
    Document,
    find_weights,
    read_document,
    read_labels,
)
from core.modelparts import CheckSpec, OutputSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "CATALOG",
    "ModelSpec",
    "missing_weights",
    "model_names",
    "read_document",
    "read_model",
    "served_names",
]


def model_names(models_path: Path) -> Iterator[str]:
    """Yield the names of the models that have a folder: the user's first, then the shipped ones."""
    seen = set()
    for root in (models_path, CATALOG):
        for document in sorted(root.glob("*/model.toml")):
            name = document.parent.name
            if name not in seen and not name.startswith("."):
                seen.add(name)
                yield name


def served_names(models_path: Path) -> Iterator[str]:
    """Yield the names of the models that are here: `model_names`, and applications with weights."""
    named = set(model_names(models_path))
    yield from model_names(models_path)
    for name in APPLICATIONS:
        if name not in named and read_model(name, models_path).weights.exists():
            yield name


def read_model(name: str, models_path: Path) -> ModelSpec:
    """Read one model's spec; the user's folder wins over the built-in models.

    Classes of `keras.applications` are found by their own names, too, however these are written:
    `EfficientNetB0` and `efficientnet_b0` are the same model.

    Raises:
        ModelError: if there is no such model, or its files are incomplete or malformed.
    """
    return _read(name, models_path, lambda member: _read(member, models_path, None))


def _read(name: str, models_path: Path, find: Callable[[str], ModelSpec] | None) -> ModelSpec:
    application = find_application(name)
    for root in (models_path, CATALOG):
        for known in (name, application.name if application else name):
            document = root / known / "model.toml"
            if document.parent.parent == root and document.is_file():
                return read_document(document, models_path, find)
    if application:
        return _application_spec(application, models_path)
    raise _unknown(name, models_path)


def _unknown(name: str, models_path: Path) -> ModelError:
    own = list(model_names(models_path))
    close = difflib.get_close_matches(name, [*own, *APPLICATIONS], 1)
    meant = f"did you mean '{close[0]}'? " if close else ""
    return ModelError(
        f"no model '{name}' ({meant}known: {', '.join(own)}, and those of keras.applications); "
        f"own models go to {models_path / name / 'model.toml'}"
    )


def _application_spec(application: Application, models_path: Path) -> ModelSpec:
    document = Document(
        application=application.keras_name, cached_as=application.cached_as, input=application.input
    )
    check = CHECKS.get(application.name)
    return ModelSpec(
        name=application.name,
        description=f"{application.keras_name} of keras.applications, ImageNet's 1,000 classes",
        application=application.keras_name,
        folder=IMAGENET,
        weights=find_weights(application.name, document, IMAGENET, models_path),
        labels=read_labels(IMAGENET / "labels.txt"),
        input=application.input,
        output=OutputSpec(),
        check=CheckSpec(image="check.png", label=check) if check else None,
        labels_file=IMAGENET / "labels.txt",
    )
