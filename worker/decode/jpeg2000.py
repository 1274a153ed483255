"""JPEG 2000: what Pillow gets wrong of it, refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import Image

#: How a code stream begins, and where the number of bits of the first component stands from there.
_START: Final = b"\xff\x4f\xff\x51"
_BITS_AT: Final = 42


def require_readable(image: Image.Image, data: bytes) -> None:
    """Refuse colours of more than 8 bits: Pillow rounds them up past white, which makes it black.

    Raises:
        ValueError: saying so.
    """
    if image.format != "JPEG2000" or image.mode.startswith("I"):
        return
    start = data.find(_START) + _BITS_AT
    bits = (data[start] & 0x7F) + 1 if len(data) > start >= _BITS_AT else 8
    if bits > 8:
        raise ValueError(f"JPEG 2000 in colours of {bits} bits is not read: save it with 8")
