"""What a model is: network, labels, input, output and self-check, read from its `model.toml`.

Knows files and words only. Building and running the network is the engines' business.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG = Path(__file__).parent / "catalog"
Side = Annotated[int, Field(gt=0, le=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Part):
    """What the network is fed: shape, colours, and how a picture becomes that.

    `preprocessing` is arithmetic inside the graph, by Keras's own names (`tf`: -1..1, `caffe`: BGR
    minus the ImageNet mean, `torch`: ImageNet mean and deviation, `unit`: 0..1, `none`: 0..255).
    `resize` is either `crop` (scale, then cut the centre: `crop_fraction` of the shorter side is
    kept) or `squash` (the whole picture, its proportions given up). `gray_window` says which values
    of 16-bit and 32-bit grey are black and white; without it the file decides.
    """

    height: Side
    width: Side
    color: Literal["rgb", "gray"] = "rgb"
    preprocessing: Literal["tf", "caffe", "torch", "unit", "none"] = "none"
    resize: Literal["crop", "squash"] = "crop"
    crop_fraction: float = Field(0.875, gt=0, le=1)
    filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    gray_window: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.gray_window is not None and not self.gray_window[0] < self.gray_window[1]:
            msg = "gray_window is [black, white], the smaller value first"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_colors(self) -> Self:
        if self.color == "gray" and self.preprocessing in {"caffe", "torch"}:
            msg = f"preprocessing '{self.preprocessing}' has a mean per colour: color must be rgb"
            raise ValueError(msg)
        return self

    @property
    def channels(self) -> int:
        """Number of values per pixel."""
        return 3 if self.color == "rgb" else 1


class OutputSpec(_Part):
    """What the network's numbers mean.

    `softmax`: probabilities that sum to one. `logits`: the same before the softmax, which we add.
    `sigmoid`: one probability per label; a single one, of two labels, is that of the second.
    """

    activation: Literal["softmax", "logits", "sigmoid"] = "softmax"


class CheckSpec(_Part):
    """A picture beside `model.toml` and the label that the network must give it."""

    image: str
    label: str


class _Document(_Part):
    """The content of a `model.toml`."""

    description: str = ""
    application: str | None = Field(None, pattern=r"^[A-Z][A-Za-z0-9]*$")
    cached_as: str | None = Field(None, pattern=r"^[\w.-]+\.h5$")
    labels: str = "labels.txt"
    input: InputSpec
    output: OutputSpec = OutputSpec()
    check: CheckSpec | None = None


@dataclass(frozen=True)
class ModelSpec:
    """Everything about one model.

    `application` names a class of `keras.applications` whose weights are in `weights`; without it,
    `weights` is a whole network in Keras's own `.keras` format. A file that is nowhere to be found
    stands in `weights` all the same: it is where the user may put it.
    """

    name: str
    description: str
    application: str | None
    folder: Path
    weights: Path
    labels: tuple[str, ...]
    input: InputSpec
    output: OutputSpec
    check: CheckSpec | None
    labels_file: Path = Path("labels.txt")

    @property
    def check_image(self) -> Path | None:
        """The picture of the self-check."""
        return self.folder / self.check.image if self.check else None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, labels and every word of the spec that changes an answer.

        Raises:
            ModelError: if the weights cannot be read.
        """
        state = hashlib.blake2b(digest_size=16)
        words = (
            self.application or "",
            # Without what is not set: a key that is new here must not make old models new.
            self.input.model_dump_json(exclude_none=True),
            self.output.model_dump_json(),
            *self.labels,
        )
        state.update("\n".join(words).encode())
        try:
            with self.weights.open("rb") as file:
                while block := file.read(1 << 20):
                    state.update(block)
        except OSError as error:
            raise missing_weights(self.name, self.weights) from error
        return state.hexdigest()


def model_names(models_path: Path) -> Iterator[str]:
    """Yield the names of all models: the user's folder first, then the built-in ones."""
    seen = set()
    for root in (models_path, CATALOG):
        for document in sorted(root.glob("*/model.toml")):
            name = document.parent.name
            if name not in seen:
                seen.add(name)
                yield name


def read_model(name: str, models_path: Path) -> ModelSpec:
    """Read one model's spec; the user's folder wins over the built-in models.

    Raises:
        ModelError: if there is no such model, or its files are incomplete or malformed.
    """
    for root in (models_path, CATALOG):
        document = root / name / "model.toml"
        if document.parent.parent == root and document.is_file():
            return _read(name, document, models_path)
    known = ", ".join(model_names(models_path))
    raise ModelError(
        f"no model '{name}' (known: {known}); own models go to {models_path / name / 'model.toml'}"
    )


def missing_weights(name: str, path: Path) -> ModelError:
    """Return the error that says which file is missing and where it goes."""
    return ModelError(f"model '{name}' has no weights: put them at {path}")


def _read(name: str, path: Path, models_path: Path) -> ModelSpec:
    try:
        document = _Document.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: {field}: {first['msg']}") from error
    return ModelSpec(
        name=name,
        description=document.description,
        application=document.application,
        folder=path.parent,
        weights=_find_weights(name, document, path.parent, models_path),
        labels=_read_labels(path.parent / document.labels),
        input=document.input,
        output=document.output,
        check=document.check,
        labels_file=path.parent / document.labels,
    )


def _find_weights(name: str, document: _Document, folder: Path, models_path: Path) -> Path:
    """Return where the weights are: the models folder, else Keras's cache, else where to put them."""
    if document.application is None:
        return folder / "model.keras"
    ours = models_path / name / f"{name}.weights.h5"
    if document.cached_as and not ours.exists():
        cached = keras_home() / "models" / document.cached_as
        if cached.exists():
            return cached
    return ours


def keras_home() -> Path:
    """Return the folder under which Keras keeps what it downloads."""
    # Keras's own variable, read as Keras reads it: no setting of ours.
    named = os.environ.get("KERAS_HOME")  # noqa: TID251
    return Path(named or "~/.keras").expanduser()


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        labels = tuple(path.read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error
    if not labels or not all(label.strip() for label in labels):
        raise ModelError(f"{path}: one label per line, none of them empty")
    return labels
