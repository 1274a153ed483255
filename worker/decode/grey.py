"""Grey of more than 8 bits: which values are black and white, decided on the whole picture.

The file's declaration counts where it has one. What a file leaves open is documented in
docs/pictures.md, and a model may settle it (`gray_window` in its `model.toml`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, TiffImagePlugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from core.modelparts import InputSpec

#: Pillow's modes of 16-bit, 32-bit and floating-point grey begin with these.
_DEEP: Final = "IF"
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO, _SAMPLE_FORMAT, _UNSIGNED = 258, 262, 0, 339, 1


@dataclass(frozen=True, slots=True)
class Scale:
    """The values that become 0 and 255; `steps` if every value between is a step of its own.

    With steps a value keeps its high bits, as 16-bit colours do in Pillow.
    """

    low: float
    high: float
    steps: bool = True
    inverted: bool = False

    def apply(self, values: NDArray[np.generic]) -> NDArray[np.uint8]:
        """Return `values` as 8 bits; what lies outside is clipped."""
        above = values.astype(np.float64) - self.low
        if self.steps:
            scaled = np.floor(above * (256 / (self.high - self.low + 1)))
        else:
            scaled = above * (255 / (self.high - self.low or 1.0)) + 0.5
        small: NDArray[np.uint8] = scaled.clip(0, 255).astype(np.uint8)
        return 255 - small if self.inverted else small


def is_deep(mode: str) -> bool:
    """Return whether pixels of this mode need a `Scale`."""
    return mode[0] in _DEEP


def scale_of(image: Image.Image, spec: InputSpec, file: Image.Image) -> Scale:
    """Return how the values of a deep grey picture become 8 bits.

    `image` has the pixels, averageable, not yet resized to the model's size; `file` is what was opened.
    """
    inverted = _tag(file, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO
    whole = file.mode != "F"
    if spec.gray_window is not None:
        low, high = spec.gray_window
        return Scale(low, high, steps=whole, inverted=inverted)
    if file.mode.startswith("I;16"):
        # Scanners write 12 bits into cells of 16: taken for 16 they would all be nearly black.
        bits = min(_tag(file, _BITS, 16), 16)
        return Scale(0, (1 << bits) - 1, inverted=inverted)
    return _guessed(image, file, inverted=inverted)


def averageable(image: Image.Image, file: Image.Image) -> Image.Image:
    """Return a deep grey `image` with values that Pillow averages rightly; `file` is what was opened.

    Big-endian 16 bits are brought to this machine's order, of which Pillow's resize takes no notice;
    32 bits without a sign, of which Pillow knows none, become fractions; and what is no number becomes
    the least one, or it would spread to its neighbours.
    """
    if image.mode in {"I;16B", "I;16L"}:
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode == "I" and _is_unsigned(file) and _extremes(image)[0] < 0:
        return Image.fromarray(np.asarray(image).view(np.uint32).astype(np.float32))
    if image.mode != "F":
        return image
    values = np.asarray(image)
    numbers = np.isfinite(values)
    if bool(numbers.all()):
        return image
    least = values.min(where=numbers, initial=np.inf) if bool(numbers.any()) else np.float32(0)
    return Image.fromarray(np.where(numbers, values, least))


def _guessed(image: Image.Image, file: Image.Image, *, inverted: bool) -> Scale:
    """Return the scale of values of 32 bits, for which most files declare no range."""
    low, high = _extremes(image)
    if file.mode == "F" and low >= 0 and high <= 1:
        return Scale(0.0, 1.0, steps=False, inverted=inverted)
    # PPM's integers were brought to 16 bits by Pillow; elsewhere 8 bits in a larger cell are common.
    if low >= 0 and high <= 0xFF and (file.format, file.mode) != ("PPM", "I") and _is_whole(image):
        return Scale(0, 0xFF, inverted=inverted)
    if low < 0 or high > 0xFFFF or file.mode == "F":
        return Scale(low, high, steps=False, inverted=inverted)
    return Scale(0, 0xFFFF, inverted=inverted)


def _is_whole(image: Image.Image) -> bool:
    """Return whether all values are integers, be it as fractions."""
    if image.mode != "F":
        return True
    values = np.asarray(image)
    return bool((values == np.rint(values)).all())


def _extremes(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return low, high


def _is_unsigned(file: Image.Image) -> bool:
    """Return whether the values of 32 bits of a file have no sign."""
    tiff = isinstance(file, TiffImagePlugin.TiffImageFile)
    return tiff and (_tag(file, _BITS, 1), _tag(file, _SAMPLE_FORMAT, 1)) == (32, _UNSIGNED)


def _tag(image: Image.Image, number: int, default: int) -> int:
    """Return the first value of a TIFF tag."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return default
    value = image.tag_v2.get(number, default)
    first = value[0] if isinstance(value, tuple) else value
    return first if isinstance(first, int) else default
