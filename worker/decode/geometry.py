"""Where the model's pixels lie in a picture: orientation, and the box that is resized."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    from core.modelparts import InputSpec

#: Left, top, right, bottom, in pixels and fractions of pixels.
Box = tuple[float, float, float, float]

FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

#: From this EXIF orientation on, width and height are swapped.
TURNED: Final = 5

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3


def target_size(spec: InputSpec, orientation: int) -> tuple[int, int]:
    """Return width and height of the model's input in the file's own orientation.

    All work happens there; only the small result is turned upright.
    """
    if orientation >= TURNED:
        return (spec.height, spec.width)
    return (spec.width, spec.height)


def source_box(size: tuple[int, int], target: tuple[int, int], spec: InputSpec) -> Box:
    """Return the part of a picture of `size` that becomes `target`.

    `squash`: everything. `crop`: the centre, in the proportions of the target; as large as fits,
    times `crop_fraction`. That equals scaling the shorter side and cutting, in one step.
    """
    if spec.resize == "squash":
        return (0.0, 0.0, float(size[0]), float(size[1]))
    scale = min(size[0] / target[0], size[1] / target[1]) * spec.crop_fraction
    # Rounding must not push the box over the edge by a billionth: Pillow refuses that.
    left = max((size[0] - target[0] * scale) / 2, 0.0)
    top = max((size[1] - target[1] * scale) / 2, 0.0)
    return (left, top, size[0] - left, size[1] - top)


def whole_size(size: tuple[int, int], target: tuple[int, int], box: Box) -> tuple[int, int]:
    """Return the smallest size of the whole picture at which `box` still has the size `target`."""
    return (
        math.ceil(size[0] * target[0] / (box[2] - box[0])),
        math.ceil(size[1] * target[1] / (box[3] - box[1])),
    )


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` as the camera's owner saw it."""
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def read_orientation(exif: object) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if absent or unreadable.

    One tag of the first directory is all we need. Pillow's reader parses every tag and warns about
    broken ones, which are common in photographs and no fault of the pixels.
    """
    if not isinstance(exif, bytes):
        return 1
    tiff = exif[6:] if exif.startswith(b"Exif\0\0") else exif
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "4xI", tiff)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for index in range(count):
            entry = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * index)
            if entry[:2] == (_ORIENTATION_TAG, _SHORT):
                return entry[3] if 1 <= entry[3] <= 8 else 1
    except struct.error:
        pass
    return 1
