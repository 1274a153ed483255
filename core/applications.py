"""Every classifier of `keras.applications`, and how its ImageNet weights want to be fed.

Size and preprocessing are Keras's own (a test compares them with the installed Keras). Crop and
filter are not in Keras: they are those with which the networks' authors measured their accuracy,
except for MobileNetV2, where 0.95 bicubic was measured to be better: 0.901 top-1 on 1,000
photographs, against 0.889 with 0.875 bilinear.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from core.modelparts import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.modelparts import Preprocessing


@dataclass(frozen=True, slots=True)
class Application:
    """A class of `keras.applications`: our name, Keras's, its weights in Keras's cache, its input."""

    name: str
    keras_name: str
    cached_as: str
    input: InputSpec


_TF_KERNELS: Final = "_weights_tf_dim_ordering_tf_kernels.h5"
_EFFICIENT: Final = (224, 240, 260, 300, 380, 456, 528, 600)
_EFFICIENT_V2: Final = (
    ("b0", "B0", 224, 0.875), ("b1", "B1", 240, 0.882), ("b2", "B2", 260, 0.890), ("b3", "B3", 300, 0.904),
    ("s", "S", 384, 1.0), ("m", "M", 480, 1.0), ("l", "L", 480, 1.0),
)  # fmt: skip


def _fed(
    side: int,
    preprocessing: Preprocessing,
    crop: float = 0.875,
    rule: Literal["bilinear", "bicubic"] = "bilinear",
) -> InputSpec:
    return InputSpec(
        height=side, width=side, preprocessing=preprocessing, crop_fraction=crop, filter=rule
    )


def _applications() -> Iterator[Application]:
    for size in ("tiny", "small", "base", "large", "xlarge"):
        name = "XLarge" if size == "xlarge" else size.title()
        fed = _fed(224, "none", 0.875, "bicubic")
        yield Application(f"convnext_{size}", f"ConvNeXt{name}", f"convnext_{size}.h5", fed)
    for depth in (121, 169, 201):
        file = f"densenet{depth}{_TF_KERNELS}"
        yield Application(f"densenet{depth}", f"DenseNet{depth}", file, _fed(224, "torch"))
    for number, side in enumerate(_EFFICIENT):
        # Their evaluation cuts 32 pixels away, whatever the size.
        fed = _fed(side, "none", round(side / (side + 32), 3), "bicubic")
        file = f"efficientnetb{number}.h5"
        yield Application(f"efficientnet_b{number}", f"EfficientNetB{number}", file, fed)
    for short, name, side, crop in _EFFICIENT_V2:
        fed = _fed(side, "none", crop, "bicubic")
        file = f"efficientnetv2-{short}.h5"
        yield Application(f"efficientnet_v2_{short}", f"EfficientNetV2{name}", file, fed)
    yield from _inception_like()
    yield from _mobile()
    yield from _residual()
    for depth in (16, 19):
        file = f"vgg{depth}{_TF_KERNELS}"
        yield Application(f"vgg{depth}", f"VGG{depth}", file, _fed(224, "caffe"))


def _inception_like() -> Iterator[Application]:
    for name, keras_name in (
        ("inception_resnet_v2", "InceptionResNetV2"),
        ("inception_v3", "InceptionV3"),
        ("xception", "Xception"),
    ):
        yield Application(name, keras_name, f"{name}{_TF_KERNELS}", _fed(299, "tf"))
    yield Application("nasnet_large", "NASNetLarge", "nasnet_large.h5", _fed(331, "tf"))
    yield Application("nasnet_mobile", "NASNetMobile", "nasnet_mobile.h5", _fed(224, "tf"))


def _mobile() -> Iterator[Application]:
    yield Application("mobilenet", "MobileNet", "mobilenet_1_0_224_tf.h5", _fed(224, "tf"))
    file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    fed = _fed(224, "tf", 0.95, "bicubic")
    yield Application("mobilenet_v2", "MobileNetV2", file, fed)
    for size in ("large", "small"):
        file = f"weights_mobilenet_v3_{size}_224_1.0_float.h5"
        name = f"mobilenet_v3_{size}"
        yield Application(name, f"MobileNetV3{size.title()}", file, _fed(224, "none"))


def _residual() -> Iterator[Application]:
    for depth in (50, 101, 152):
        name = f"resnet{depth}"
        file = f"{name}{_TF_KERNELS}"
        yield Application(name, f"ResNet{depth}", file, _fed(224, "caffe"))
        file = f"{name}v2{_TF_KERNELS}"
        yield Application(f"{name}_v2", f"ResNet{depth}V2", file, _fed(224, "tf"))


#: By our name, in alphabetical order.
APPLICATIONS: Final[Mapping[str, Application]] = MappingProxyType(
    {one.name: one for one in sorted(_applications(), key=lambda one: one.name)}
)

#: The label that the official weights give `catalog/imagenet/check.png`, where that was seen.
CHECKS: Final[Mapping[str, str]] = MappingProxyType({"mobilenet_v2": "crossword_puzzle"})


def find_application(name: str) -> Application | None:
    """Return the application of a name, however it is written: `EfficientNet-B0`, `efficientnetb0`."""
    return _BY_LETTERS.get(_letters(name))


def _letters(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


_BY_LETTERS: Final = {_letters(one.keras_name): one for one in APPLICATIONS.values()}
