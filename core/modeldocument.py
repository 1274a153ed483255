"""Reading a `model.toml`: its words, its labels, and where its network is."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import Field, ValidationError

from core.applications import find_application
from core.errors import ModelError
from core.model import ModelSpec
from core.modelparts import AugmentSpec, CheckSpec, EnsembleSpec, InputSpec, OutputSpec, Part

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", bound=Part)

CATALOG: Final = Path(__file__).parent / "catalog"
IMAGENET: Final = CATALOG / "imagenet"

#: Names under which a network is found in a model's folder, if `model.toml` names none.
NETWORKS: Final = ("model.keras", "model.tflite", "saved_model")

#: Why files of other kinds are no networks, and what to make of them.
NO_NETWORK: Final = {
    ".onnx": "ONNX is not served: convert it to a SavedModel or .tflite (onnx2tf does)",
    ".h5": "a .h5 file may run any code when it is loaded: save the network as .keras",
    ".hdf5": "a .hdf5 file may run any code when it is loaded: save the network as .keras",
    ".pb": "a frozen graph is not served: save the network as a SavedModel folder",
    ".pt": "PyTorch networks are not served: convert to .tflite (ai-edge-torch does)",
    ".pth": "PyTorch networks are not served: convert to .tflite (ai-edge-torch does)",
}


class Document(Part):
    """The content of a `model.toml`."""

    description: str = ""
    application: str | None = Field(None, pattern=r"^[A-Z][A-Za-z0-9]*$")
    cached_as: str | None = Field(None, pattern=r"^[\w.-]+\.h5$")
    network: str | None = Field(None, min_length=1)
    labels: str | None = None
    input: InputSpec
    output: OutputSpec = OutputSpec()
    augment: AugmentSpec = AugmentSpec()
    check: CheckSpec | None = None


class EnsembleDocument(Part):
    """The content of the `model.toml` of an ensemble."""

    description: str = ""
    ensemble: EnsembleSpec
    output: OutputSpec | None = None
    augment: AugmentSpec = AugmentSpec()
    check: CheckSpec | None = None


def read_document(
    path: Path, models_path: Path, find: Callable[[str], ModelSpec] | None = None
) -> ModelSpec:
    """Read a `model.toml`, wherever it lies; the model is called as its folder.

    Args:
        path: The document.
        models_path: Where an application's weights may be.
        find: Reads the members of an ensemble; without it an ensemble is refused.

    Raises:
        ModelError: if it, its labels or its network are missing or malformed.
    """
    try:
        words = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ModelError(f"{path}: {error}") from error
    if "ensemble" in words:
        return _checked(path, _read_ensemble(path, words, find))
    return _checked(path, _read_single(path, words, models_path))


def _read_ensemble(
    path: Path, words: dict[str, Any], find: Callable[[str], ModelSpec] | None
) -> ModelSpec:
    document = _validated(EnsembleDocument, path, words)
    if find is None:
        raise ModelError(f"{path}: an ensemble cannot be a member of an ensemble")
    members = tuple(find(name) for name in document.ensemble.members)
    first = members[0]
    for other in members[1:]:
        for what, same in (
            ("labels", other.labels == first.labels),
            ("size, crop and filter", other.input.geometry == first.input.geometry),
            ("output.kind", other.kind == first.kind),
        ):
            if not same:
                raise ModelError(
                    f"{path}: '{other.name}' and '{first.name}' differ in {what}: no ensemble"
                )
    weights = document.ensemble.weights or (1.0,) * len(members)
    return ModelSpec(
        name=path.parent.name,
        description=document.description,
        application=None,
        folder=path.parent,
        weights=path,
        labels=first.labels,
        input=first.input,
        output=document.output or first.output,
        check=document.check,
        labels_file=first.labels_file,
        augment=document.augment,
        members=members,
        shares=tuple(weight / sum(weights) for weight in weights),
    )


def _read_single(path: Path, words: dict[str, Any], models_path: Path) -> ModelSpec:
    application = find_application(str(words.get("application", "")))
    if application:
        words.setdefault("cached_as", application.cached_as)
        fed = words.get("input", {})
        if isinstance(fed, dict):
            words["input"] = {**application.input.model_dump(exclude_defaults=True), **fed}
    document = _validated(Document, path, words)
    folder = path.parent
    labels = folder / (document.labels or "labels.txt")
    if application and document.labels is None and not labels.exists():
        labels = IMAGENET / "labels.txt"
    return ModelSpec(
        name=folder.name,
        description=document.description,
        application=document.application,
        folder=folder,
        weights=find_weights(folder.name, document, folder, models_path),
        labels=read_labels(labels),
        input=document.input,
        output=document.output,
        check=document.check,
        labels_file=labels,
        augment=document.augment,
    )


def keras_home() -> Path:
    """Return the folder under which Keras keeps what it downloads."""
    # Keras's own variable, read as Keras reads it: no setting of ours.
    named = os.environ.get("KERAS_HOME")  # noqa: TID251
    return Path(named or "~/.keras").expanduser()


def _validated(kind: type[T], path: Path, words: dict[str, Any]) -> T:
    try:
        return kind.model_validate(words)
    except ValidationError as error:
        # A key that is mistyped is often missing, too: say the former.
        faults = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in faults[0]["loc"])
        unknown = faults[0]["type"] == "extra_forbidden"
        said = "no such key" if unknown else faults[0]["msg"].removeprefix("Value error, ")
        raise ModelError(f"{path}: {field}: {said}") from error


def _checked(path: Path, spec: ModelSpec) -> ModelSpec:
    """Refuse an output whose words contradict each other or the labels."""
    output = spec.output
    unknown = [label for label in output.thresholds if label not in spec.labels]
    if unknown:
        raise ModelError(f"{path}: output.thresholds: '{unknown[0]}' is not a label")
    if spec.kind == "multilabel" and not output.independent:
        raise ModelError(f"{path}: output.kind: multilabel needs activation sigmoid(_logits)")
    if spec.kind == "multiclass" and output.independent:
        raise ModelError(f"{path}: output.kind: multiclass needs activation softmax or logits")
    if spec.kind == "binary" and len(spec.labels) != 2:
        raise ModelError(f"{path}: output.kind: binary needs 2 labels, not {len(spec.labels)}")
    if spec.kind == "multiclass" and output.thresholded:
        raise ModelError(f"{path}: output.threshold: only for kind binary or multilabel")
    if spec.kind == "binary" and output.thresholds:
        raise ModelError(f"{path}: output.thresholds: a binary model has one threshold")
    if output.thresholded and spec.kind == "multilabel" and output.none in spec.labels:
        raise ModelError(f"{path}: output.none: '{output.none}' is one of the labels")
    return spec


def find_weights(name: str, document: Document, folder: Path, models_path: Path) -> Path:
    """Return where the weights are: the models folder, else Keras's cache, else where to put them."""
    if document.application is None:
        return _find_network(name, document.network, folder)
    ours = models_path / name / f"{name}.weights.h5"
    if document.cached_as and not ours.exists():
        cached = keras_home() / "models" / document.cached_as
        if cached.exists():
            return cached
    return ours


def _find_network(name: str, named: str | None, folder: Path) -> Path:
    there = [folder / entry for entry in NETWORKS if (folder / entry).exists()]
    if named is None and len(there) > 1:
        found = ", ".join(path.name for path in there)
        raise ModelError(f"model '{name}' has several networks ({found}): say network = \"...\"")
    if named is None and not there:
        there = [path for path in folder.glob("model.*") if path.suffix in NO_NETWORK]
    path = folder / named if named else (there or [folder / NETWORKS[0]])[0]
    if path.suffix in NO_NETWORK:
        raise ModelError(f"{path}: {NO_NETWORK[path.suffix]}")
    return path


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a file with one label per line.

    Raises:
        ModelError: if it cannot be read or has an empty line.
    """
    if not path.exists():
        raise ModelError(f"{path}: missing: one label per line, in the order of the outputs")
    labels = tuple(line.strip() for line in _read_text(path).rstrip("\n").split("\n"))
    if not all(labels):
        raise ModelError(f"{path}: one label per line, none of them empty")
    return labels


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not UTF-8: save it as UTF-8 text") from error
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
