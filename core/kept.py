"""What was prepared is kept under its fingerprint: a job goes on with it when the model is replaced.

Beside the network (`HOME/converted/FINGERPRINT-N.tflite`) lies what else is needed to answer with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.modelparts import AugmentSpec, InputSpec, OutputSpec
from core.modelspec import ModelSpec

if TYPE_CHECKING:
    from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as it was when it was prepared, and its network."""

    spec: ModelSpec
    path: Path
    embeddings: bool


def describe_kept(spec: ModelSpec) -> str:
    """Return what to write beside a prepared network."""
    document: dict[str, Any] = {
        "name": spec.name,
        "application": spec.application,
        "network": spec.weights.name,
        "labels": spec.labels,
        "input": spec.input.model_dump(),
        "output": spec.output.model_dump(),
        "augment": spec.augment.model_dump(),
    }
    return json.dumps(document)


def description_of(prepared: Path) -> Path:
    """Return where the description of a prepared network lies."""
    return prepared.with_suffix(".json")


def read_kept(fingerprint: str, settings: Settings, *, embeddings: bool = False) -> Kept | None:
    """Return the model that was prepared under a fingerprint; None if it is not there, or not whole."""
    from core.prepare import prepared_name

    prepared = settings.home / "converted" / prepared_name(fingerprint, "litert", embeddings)
    try:
        document = json.loads(description_of(prepared).read_text("utf-8"))
        spec = ModelSpec(
            name=document["name"],
            description="",
            application=document["application"],
            folder=prepared.parent,
            weights=Path(document["network"]),
            labels=tuple(document["labels"]),
            input=InputSpec.model_validate(document["input"]),
            output=OutputSpec.model_validate(document["output"]),
            check=None,
            augment=AugmentSpec.model_validate(document["augment"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Kept(spec, prepared, embeddings) if prepared.is_file() else None
