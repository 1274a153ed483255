"""One model: everything that is said of it, and the fingerprint that tells it from all others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import ModelError
from core.modelparts import AugmentSpec

if TYPE_CHECKING:
    from core.modelparts import CheckSpec, InputSpec, OutputSpec

#: What a network may be: a class of keras.applications with its weights, a whole network, or
#: several models.
Source = Literal["application", "keras", "saved_model", "tflite", "ensemble"]


@dataclass(frozen=True)
class ModelSpec:
    """Everything about one model.

    `application` names a class of `keras.applications` whose weights are in `weights`; without it,
    `weights` is a whole network: a `.keras` or `.tflite` file, or a SavedModel folder. What is
    nowhere to be found stands in `weights` all the same: it is where the user may put it.
    An ensemble has `members`, whose scores are averaged with `shares`; its `weights` are its document.
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
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    members: tuple[ModelSpec, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def check_image(self) -> Path | None:
        """The picture of the self-check."""
        return self.folder / self.check.image if self.check else None

    @property
    def source(self) -> Source:
        """What the network is."""
        if self.members:
            return "ensemble"
        if self.application:
            return "application"
        if self.weights.suffix == ".tflite":
            return "tflite"
        return "keras" if self.weights.suffix == ".keras" else "saved_model"

    @property
    def kind(self) -> Literal["multiclass", "binary", "multilabel"]:
        """What a label means: the only one, one of two, or one of several that may all be there."""
        if self.output.kind:
            return self.output.kind
        if not self.output.independent:
            return "multiclass"
        return "binary" if len(self.labels) == 2 else "multilabel"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, labels and every word of the spec that changes an answer.

        Raises:
            ModelError: if the weights cannot be read.
        """
        state = hashlib.blake2b(digest_size=16)
        words = (
            self.application or "",
            # Without the defaults: a key that a later version adds changes no fingerprint.
            self.input.model_dump_json(exclude_defaults=True),
            self.output.model_dump_json(exclude_defaults=True),
            *self.labels,
            *(["flip"] if self.augment.flip else ()),
            *(
                f"{one.fingerprint} {share}"
                for one, share in zip(self.members, self.shares, strict=True)
            ),
        )
        state.update("\n".join(words).encode())
        try:
            for path in () if self.members else self.weight_files():
                if path != self.weights:
                    state.update(f"\n{path.relative_to(self.weights)}\n".encode())
                with path.open("rb") as file:
                    while block := file.read(1 << 20):
                        state.update(block)
        except OSError as error:
            raise missing_weights(self.name, self.weights) from error
        return state.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of the network's files."""
        if self.members:
            return sum(one.size for one in self.members)
        return sum(path.stat().st_size for path in self.weight_files() if path.exists())

    def weight_files(self) -> list[Path]:
        """Return the files that `weights` stands for: itself, or those of a SavedModel in order."""
        if not self.weights.is_dir():
            return [self.weights]
        return sorted(path for path in self.weights.rglob("*") if path.is_file())


def missing_weights(name: str, path: Path) -> ModelError:
    """Return the error that says which file is missing and where it goes."""
    return ModelError(f"model '{name}' has no weights: put them at {path}")
