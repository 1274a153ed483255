"""How every kind of picture becomes the plain RGB or grey that models know."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from worker.decode.grey import Scale

#: What shows through transparent pixels.
BACKGROUND: Final = 255

#: Modes of pixels with an alpha channel.
_ALPHA: Final = frozenset({"LA", "La", "RGBA", "RGBa"})

#: Largest colour profile that is read; those of printing presses have about 2 MiB.
_PROFILE_BYTES: Final = 4 << 20

#: The colour space that a profile must speak of to fit a mode.
_SPACES: Final = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def averageable(image: Image.Image) -> Image.Image:
    """Return `image` in a mode whose values may be averaged; most already are."""
    if image.mode in {"P", "PA"}:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if "transparency" in image.info and image.mode in {"1", "L", "RGB"}:
        # One colour is declared transparent: find its pixels before they mix with their neighbours.
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    return image.convert("L") if image.mode == "1" else image


def to_model(
    image: Image.Image, color: Literal["rgb", "gray"], profile: bytes | None, scale: Scale | None
) -> Image.Image:
    """Return the resized `image` in mode RGB or L: opaque, 8 bits per value, sRGB.

    Runs after the resize, where pixels are few. Values mix in the file's own space, as they do
    when an RGB picture is resized. `scale` is that of deep grey.
    """
    if image.mode == "RGB" and profile is None:
        return image if color == "rgb" else image.convert("L")
    if scale is not None:
        image = Image.fromarray(scale.apply(np.asarray(image)))
    elif image.mode in _ALPHA:
        image = _flatten(image)
    elif image.mode not in _SPACES:
        image = image.convert("RGB")
    if profile is not None and len(profile) <= _PROFILE_BYTES:
        transform = _to_srgb(profile, image.mode)
        image = image if transform is None else transform.apply(image)
    return image.convert("RGB" if color == "rgb" else "L")


def _flatten(image: Image.Image) -> Image.Image:
    """Lay `image` on the background."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    image = image.convert(straight) if straight else image
    plain = "L" if image.mode == "LA" else "RGB"
    ground = Image.new(plain, image.size, BACKGROUND if plain == "L" else (BACKGROUND,) * 3)
    ground.paste(image.convert(plain), mask=image.getchannel("A"))
    return ground


@lru_cache(maxsize=16)  # most pictures of a job share a few profiles, and reading one takes 2 ms
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from `profile` to sRGB; None if there is nothing to do, or it is broken."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        core = source.profile
        if core.xcolor_space.strip() != _SPACES.get(mode):
            return None
        if (core.profile_description or "").startswith("sRGB"):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
