"""Thumbnail: a picture made small for people, as a file that every browser shows."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

from PIL import Image

from core.types import Failure
from worker.decode import shrink

if TYPE_CHECKING:
    from core.limits import ImageLimits

#: Pictures of so few pixels are kept as they are: JPEG would smear them, and saves nothing.
_TINY: Final = 64 * 64
_QUALITY: Final = 78


@dataclass(frozen=True, slots=True)
class SmallPicture:
    """A file of the type `kind` (`image/jpeg`, `image/png`) and its size in pixels."""

    kind: str
    content: bytes
    width: int
    height: int


def thumbnail(data: bytes, side: int, limits: ImageLimits) -> SmallPicture | Failure:
    """Return the picture in `data` as a new file, its longer side at most `side` pixels.

    Nothing of the old file but its pixels gets into the new one: no comment, no place, no profile.
    """
    small = shrink(data, side, limits)
    if isinstance(small, Failure):
        return small
    image = Image.fromarray(small.pixels)
    file = BytesIO()
    if image.width * image.height <= _TINY:
        image.save(file, "PNG", optimize=True)
        return SmallPicture("image/png", file.getvalue(), *image.size)
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return SmallPicture("image/jpeg", file.getvalue(), *image.size)
