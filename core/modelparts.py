"""The parts of a `model.toml`: what a network is fed, what its numbers mean, how it proves itself."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Side = Annotated[int, Field(gt=0, le=4096)]
Share = Annotated[float, Field(gt=0, lt=1)]
PerChannel = float | tuple[float, ...]

#: Keras's own names for what is done to pixels before a network sees them.
Preprocessing = Literal["tf", "caffe", "torch", "unit", "none"]


class Part(BaseModel):
    """A table of a `model.toml`: frozen, and without words that mean nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(Part):
    """What the network is fed: shape, colours, and how a picture becomes that.

    `preprocessing` is arithmetic on the pixels, by Keras's own names (`tf`: -1..1, `caffe`: BGR
    minus the ImageNet mean, `torch`: ImageNet mean and deviation, `unit`: 0..1, `none`: 0..255).
    After `unit` or `none`, `mean` is subtracted and the rest divided by `std`; one number, or one
    per channel in the network's order. `layout` is the network's: pictures are handed over with the
    channels last, whatever it says. `resize` is either `crop` (scale, then cut the centre:
    `crop_fraction` of the shorter side is kept) or `squash` (the whole picture, its proportions
    given up). `gray_window` says which values of 16-bit and 32-bit grey are black and white;
    without it the file decides.
    """

    height: Side
    width: Side
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    layout: Literal["channels_last", "channels_first"] = "channels_last"
    preprocessing: Preprocessing = "none"
    mean: PerChannel = 0.0
    std: PerChannel = 1.0
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
        fixed = self.preprocessing in {"caffe", "torch"}
        if self.color == "gray" and fixed:
            msg = f"preprocessing '{self.preprocessing}' has a mean per colour: color must be rgb"
            raise ValueError(msg)
        if self.color == "bgr" and self.preprocessing == "caffe":
            msg = "preprocessing 'caffe' turns rgb into bgr itself: color must be rgb"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_scaling(self) -> Self:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and len(value) != self.channels:
                msg = (
                    f"{name} has {len(value)} numbers, not one or one per channel ({self.channels})"
                )
                raise ValueError(msg)
        if 0.0 in (self.std if isinstance(self.std, tuple) else (self.std,)):
            msg = "std divides: it must not be 0"
            raise ValueError(msg)
        if self.shifted and self.preprocessing not in {"unit", "none"}:
            msg = f"preprocessing '{self.preprocessing}' has a mean and std of its own"
            raise ValueError(msg)
        return self

    @property
    def channels(self) -> int:
        """Number of values per pixel."""
        return 1 if self.color == "gray" else 3

    @property
    def mode(self) -> Literal["rgb", "gray"]:
        """What pictures are decoded to; `bgr` is turned round by the engine."""
        return "gray" if self.color == "gray" else "rgb"

    @property
    def shifted(self) -> bool:
        """Whether a mean or std of the spec's own is applied."""
        return (self.mean, self.std) != (0.0, 1.0)

    @property
    def geometry(self) -> tuple[object, ...]:
        """What decides which pixels a picture becomes: equal for all members of an ensemble."""
        gray = self.color == "gray"
        shape = (self.height, self.width, gray)
        return (*shape, self.resize, self.crop_fraction, self.filter, self.gray_window)


class OutputSpec(Part):
    """What the network's numbers mean.

    `softmax`: probabilities that sum to one; `logits`: the same before the softmax, which we add.
    `sigmoid`: one probability per label, or a single one, of two labels: that of the second;
    `sigmoid_logits`: the same before the sigmoid, which we add. `name` chooses one of several
    outputs. `threshold` (and `thresholds`, by label) say from which score on a label is given.
    `embedding` names the layer or output that is the embedding.
    """

    activation: Literal["softmax", "logits", "sigmoid", "sigmoid_logits"] = "softmax"
    kind: Literal["multiclass", "binary", "multilabel"] | None = None
    name: str | int | None = None
    threshold: Share | None = None
    thresholds: dict[str, Share] = Field(default_factory=dict)
    none: str = Field("none", min_length=1)
    embedding: str | None = None

    @property
    def independent(self) -> bool:
        """Whether each label has a probability of its own."""
        return self.activation in {"sigmoid", "sigmoid_logits"}

    @property
    def thresholded(self) -> bool:
        """Whether a label has to reach a score."""
        return self.threshold is not None or bool(self.thresholds)


class AugmentSpec(Part):
    """What else of a picture is shown to the network; the scores are averaged."""

    flip: bool = False


class EnsembleSpec(Part):
    """Models whose scores are averaged, by their names, with weights if they do not count alike."""

    members: tuple[str, ...] = Field(min_length=2, max_length=8)
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights and len(self.weights) != len(self.members):
            msg = f"{len(self.weights)} weights for {len(self.members)} members"
            raise ValueError(msg)
        return self


class CheckSpec(Part):
    """A picture beside `model.toml` and the label that the network must give it."""

    image: str
    label: str
