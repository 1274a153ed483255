"""What was prepared is kept under its fingerprint: a job goes on with it when the model is replaced.

Beside what says that a model is ready (for LiteRT the network itself, `HOME/converted/FINGERPRINT-N.tflite`)
lies what else is needed to answer with it. Of a network that Keras serves, a copy is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.modelparts import AugmentSpec, InputSpec, OutputSpec
from core.modelspec import ModelSpec

if TYPE_CHECKING:
    from core.prepare import ServingEngine
    from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as it was when it was prepared: its network and engine, or its members."""

    spec: ModelSpec
    path: Path
    embeddings: bool
    engine: ServingEngine = "litert"
    members: tuple[Kept, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the network's files."""
        if self.members:
            return sum(member.size for member in self.members)
        return self.spec.size if self.engine == "keras" else self.path.stat().st_size


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
        "members": [member.fingerprint for member in spec.members],
        "shares": spec.shares,
    }
    return json.dumps(document)


def description_of(prepared: Path) -> Path:
    """Return where the description of a prepared network lies."""
    return prepared.with_suffix(".json")


def copy_of(prepared: Path) -> Path:
    """Return the folder with the copy of a network that Keras serves."""
    return prepared.with_suffix(".kept")


def keep_ensemble(spec: ModelSpec, settings: Settings) -> None:
    """Write down what an ensemble is made of; its members are kept by themselves."""
    path = _ensemble_file(spec.fingerprint, settings)
    if path.exists():
        return
    draft = path.with_suffix(f".draft-{os.getpid()}")
    # Where the folder is read-only, as in a container, the models are not replaced either.
    with contextlib.suppress(OSError):
        draft.write_text(describe_kept(spec), "utf-8")
        draft.replace(path)


def read_kept(fingerprint: str, settings: Settings, *, embeddings: bool = False) -> Kept | None:
    """Return the model that was prepared under a fingerprint; None if it is not there, or not whole."""
    from core.prepare import prepared_name, serving_engine

    together = _read_ensemble(fingerprint, settings, embeddings)
    if together is not None:
        return together
    engines: tuple[ServingEngine, ...] = ("litert",)
    if serving_engine(settings) == "keras":
        engines = ("keras", "litert")  # `.tflite` files are run by LiteRT everywhere
    for engine in engines:
        prepared = settings.home / "converted" / prepared_name(fingerprint, engine, embeddings)
        document = _read(description_of(prepared))
        if document is None or not prepared.is_file():
            continue
        if engine == "litert":
            spec = _spec(document, Path(document["network"]))
            return Kept(spec, prepared, embeddings)
        spec = _spec(document, copy_of(prepared) / document["network"])
        if spec.weights.exists() and spec.fingerprint == fingerprint:
            return Kept(spec, spec.weights, embeddings, engine)
    return None


def kept_members(fingerprint: str, settings: Settings) -> tuple[str, ...]:
    """Return the fingerprints of the members of an ensemble that was prepared; of others none."""
    document = _read(_ensemble_file(fingerprint, settings))
    return tuple(document["members"]) if document else ()


def kept_name(path: Path) -> str:
    """Return the name of the model that a file describes; empty if it describes none."""
    document = _read(path) if path.suffix == ".json" else None
    return str(document["name"]) if document else ""


def _read_ensemble(fingerprint: str, settings: Settings, embeddings: bool) -> Kept | None:
    path = _ensemble_file(fingerprint, settings)
    document = _read(path)
    if document is None:
        return None
    members = [read_kept(member, settings, embeddings=embeddings) for member in document["members"]]
    whole = tuple(member for member in members if member is not None)
    if len(whole) < len(members):
        return None
    specs = tuple(member.spec for member in whole)
    spec = _spec(document, Path(document["network"]), specs, tuple(document["shares"]))
    return Kept(spec, path, embeddings, members=whole)


def _ensemble_file(fingerprint: str, settings: Settings) -> Path:
    return settings.home / "converted" / f"{fingerprint}.ensemble.json"


def _read(path: Path) -> dict[str, Any] | None:
    """Return a description; None if there is none, or it is not one of ours."""
    try:
        document = json.loads(path.read_text("utf-8"))
        _spec(document, Path(document["network"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(document)


def _spec(
    document: dict[str, Any],
    weights: Path,
    members: tuple[ModelSpec, ...] = (),
    shares: tuple[float, ...] = (),
) -> ModelSpec:
    return ModelSpec(
        name=document["name"],
        description="",
        application=document["application"],
        folder=weights.parent,
        weights=weights,
        labels=tuple(document["labels"]),
        input=InputSpec.model_validate(document["input"]),
        output=OutputSpec.model_validate(document["output"]),
        check=None,
        augment=AugmentSpec.model_validate(document["augment"]),
        members=members,
        shares=shares,
    )
