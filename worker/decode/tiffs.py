"""TIFFs whose values Pillow takes for others than they are, put right before it decodes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from PIL.TiffImagePlugin import TiffImageFile

if TYPE_CHECKING:
    from PIL.Image import Image

_BITS, _PLANAR, _SEPARATE = 258, 284, 2
#: libtiff gives values in this machine's order, which Pillow turns round once more.
_NATIVE: Final = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def mend(image: Image) -> None:
    """Tell Pillow how the values of the page it stands at are stored; call before it is loaded.

    Raises:
        ValueError: if there is no way to read them.
    """
    if not isinstance(image, TiffImageFile):
        return
    separate = image.tag_v2.get(_PLANAR, 1) == _SEPARATE
    if separate and image.mode in {"LA", "La"}:
        raise ValueError("grey and alpha in separate planes are not read")
    image.tile = [
        tile._replace(args=(_raw_mode(image, tile, separate=separate), *tile.args[1:]))
        for tile in image.tile
        if isinstance(tile.args, tuple)
    ]


def _raw_mode(image: TiffImageFile, tile: Any, *, separate: bool) -> str:
    raw: str = tile.args[0]
    if tile.codec_name == "libtiff":
        return _NATIVE.get(raw, raw)
    if separate and 16 in image.tag_v2.get(_BITS, ()):
        # Pillow takes the planes of colours of 16 bits for such of 8.
        return f"{raw};16{'L' if image.tag_v2.prefix == b'II' else 'B'}"
    return raw
