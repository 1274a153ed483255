"""Decode: the bytes of one picture become the pixels that the model is fed, or a `Failure`.

Bytes come from strangers: nothing here raises for any of them, and no more pixels are decoded than
the limits allow. Knows Pillow; knows neither where bytes come from nor what a model does with them.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from PIL import (
    Image,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  registers WEBP, or Pillow would import all 43 readers for it
)

from core.errors import Code
from core.modelparts import InputSpec
from core.sniff import refuse
from core.types import Failure
from worker.decode import colors, geometry, grey, jpeg2000, largetiff, tiffs
from worker.decode.hourglass import Hourglass, LateError
from worker.decode.readers import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from core.limits import ImageLimits

__all__ = ["Decoded", "decode", "prepare"]

#: What readers raise for broken bytes. Families, not `Exception`: a time limit that a signal raises
#: in the middle of a picture is not the picture's fault and must pass.
_BROKEN: Final = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error,
)  # fmt: skip
#: Bytes that a progressive JPEG is read by: its scans may be so small that Pillow's own 64 KiB hold a
#: minute's work, and the time is looked at between two reads.
_SCAN_BYTES: Final = 4096
_BOMBS: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)


#: A picture resized to the model's size, and what its values mean if it is deep grey.
_Small: TypeAlias = "tuple[Image.Image, grey.Scale | None]"


@dataclass(frozen=True, slots=True)
class Decoded:
    """Pixels (uint8 `[H, W, C]`, contiguous, read-only) and the upright size of the original."""

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode(data: bytes, spec: InputSpec, limits: ImageLimits) -> Decoded | Failure:
    """Return the first frame of `data`, upright, in the size and colours that `spec` asks for."""
    return _within(data, limits, lambda image: _decode(image, spec), spec)


def shrink(data: bytes, side: int, limits: ImageLimits) -> Decoded | Failure:
    """Return the first frame of `data` whole, upright, in RGB: `side` pixels at most, never enlarged."""
    return _within(data, limits, lambda image: _decode(image, _shrunk(image, side)))


def _within(
    data: bytes,
    limits: ImageLimits,
    use: Callable[[ImageFile], Decoded],
    spec: InputSpec | None = None,
) -> Decoded | Failure:
    """Open `data` and use the picture; whatever is wrong with it is a failure.

    With `spec`, a TIFF of too many pixels is read reduced.
    """
    if not data:
        return Failure(Code.EMPTY, "0 bytes")
    try:
        # Only the allowed readers exist for this call: most holes of Pillow are in the others.
        source = Hourglass(data, limits.seconds)
        with Image.open(source, formats=limits.formats) as image:
            refused = _check_size(image.size, limits)
            if refused and spec and isinstance(image, TiffImagePlugin.TiffImageFile):
                return _decode_large(image, data, spec, limits) or refused
            tiffs.mend(image)
            jpeg2000.require_readable(image, data)
            return refused or use(image)
    except UnidentifiedImageError:
        return refuse(data, limits.formats)
    except _BOMBS as error:
        found = re.search(r"\d{7,}", str(error))
        return _pixels_exceeded(int(found[0]) if found else limits.max_pixels, limits)
    except (LateError, *_BROKEN) as error:
        return _damaged(error, limits)


def _damaged(error: Exception, limits: ImageLimits) -> Failure:
    if isinstance(error, LateError):
        return Failure(Code.DECODE_TIMEOUT, f"not decoded within {limits.seconds:g} s")
    return Failure(Code.DECODE_FAILED, f"{type(error).__name__}: {error}")


def _check_size(size: tuple[int, int], limits: ImageLimits) -> Failure | None:
    """Refuse by the size in the header, before a single pixel is decoded."""
    width, height = size
    if not 0 < min(size) <= max(size) <= limits.max_side:
        return Failure(Code.DIMENSIONS, f"{width} x {height}; side: 1 to {limits.max_side}")
    if width * height > limits.max_pixels:
        return _pixels_exceeded(width * height, limits)
    return None


def _pixels_exceeded(pixels: int, limits: ImageLimits) -> Failure:
    return Failure(
        Code.PIXELS_EXCEEDED, f"{pixels / 1e6:.1f} MP > {limits.max_pixels / 1e6:.1f} MP"
    )


def _decode(image: ImageFile, spec: InputSpec) -> Decoded:
    jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
    if not jpeg:
        image.load()  # now: PNG may carry its EXIF behind the pixels, and TIFF turns itself upright
    size = image.size
    orientation = geometry.read_orientation(image.info.get("exif"))
    target = geometry.target_size(spec, orientation)
    box = geometry.source_box(size, target, spec)
    if jpeg:
        if image.info.get("progressive"):
            image.decodermaxblock = _SCAN_BYTES
        box = _draft(image, target, box, spec)
    small = _resized(image, target, box, spec)
    return _finished(small, image, orientation, size, spec)


def _resized(
    image: ImageFile, target: tuple[int, int], box: geometry.Box, spec: InputSpec
) -> _Small:
    """Return the part of a loaded `image` in `box` as `target`; the image's own pixels are gone then."""
    deep = grey.is_deep(image.mode)
    full = grey.averageable(image, image) if deep else colors.averageable(image)
    scale = grey.scale_of(full, spec, image) if deep else None
    if full is not image:
        image.close()  # its pixels: resizing makes a third copy, and two are enough
    return full.resize(target, geometry.FILTERS[spec.filter], box), scale


def _finished(
    small: _Small, image: Image.Image, orientation: int, size: tuple[int, int], spec: InputSpec
) -> Decoded:
    """Return the resized picture as the model takes it; `size` is that of the file."""
    pixels, scale = small
    pixels = geometry.upright(pixels, orientation)
    pixels = colors.to_model(pixels, spec.mode, image.info.get("icc_profile"), scale)
    array = np.asarray(pixels).reshape(spec.height, spec.width, spec.channels)
    width, height = reversed(size) if orientation >= geometry.TURNED else size
    return Decoded(array, width, height)


def _decode_large(
    image: TiffImagePlugin.TiffImageFile, data: bytes, spec: InputSpec, limits: ImageLimits
) -> Decoded | None:
    """Return a TIFF of too many pixels, read reduced; None if it must be refused."""
    size = largetiff.stored_size(image)
    if max(size) > limits.max_side or size[0] * size[1] > limits.max_tiff_pixels:
        return None
    orientation = largetiff.orientation(image)
    target = geometry.target_size(spec, orientation)
    box = geometry.source_box(size, target, spec)
    reduced = largetiff.reduced(image, data, geometry.whole_size(size, target, box), limits)
    if reduced is None:
        return None
    pixels = reduced.image
    scale = grey.scale_of(pixels, spec, image) if grey.is_deep(pixels.mode) else None
    place = (
        box[0] * reduced.across, box[1] * reduced.down,
        box[2] * reduced.across, box[3] * reduced.down,
    )  # fmt: skip
    small = pixels.resize(target, geometry.FILTERS[spec.filter], place)
    return _finished((small, scale), image, orientation, size, spec)


def _shrunk(image: ImageFile, side: int) -> InputSpec:
    """Return what makes `_decode` keep the proportions of the picture."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        image.load()  # its orientation may stand behind its pixels, see `_decode`
    turned = geometry.read_orientation(image.info.get("exif")) >= geometry.TURNED
    width, height = reversed(image.size) if turned else image.size
    scale = min(1.0, side / max(width, height))
    return InputSpec(
        height=max(1, round(height * scale)),
        width=max(1, round(width * scale)),
        resize="squash",
        filter="bicubic",
    )


def _draft(
    image: ImageFile, target: tuple[int, int], box: geometry.Box, spec: InputSpec
) -> geometry.Box:
    """Let libjpeg decode at 1/2, 1/4 or 1/8 if `box` stays at least `target` large; return the new box.

    Several times cheaper for photographs from cameras, and as accurate as decoding everything.
    """
    # Pillow picks the scale by the whole picture, so ask for the whole that makes the box fit.
    wanted = geometry.whole_size(image.size, target, box)
    gray = spec.color == "gray" and "icc_profile" not in image.info
    drafted = image.draft("L" if gray else None, wanted)
    if drafted is None:
        return box
    scale = image.decoderconfig[0]
    return (box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale)
