"""Pillow's readers, made ready once per process: formats, guards, and readers of other packages."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from PIL import Image, ImageFile

from core.errors import SettingsError
from worker.decode.rowbuffer import place_row_buffers

if TYPE_CHECKING:
    from core.limits import ImageLimits


def prepare(limits: ImageLimits) -> None:
    """Make Pillow's process-wide guards agree with ours; call once, before any decoding.

    Without it Pillow prints warnings about large pictures and broken metadata, and refuses pictures
    over 179 MP whatever `limits` allow. Its guard is only ever widened here, so that two calls
    cannot harm each other.

    Raises:
        SettingsError: if Pillow cannot read one of the formats.
    """
    Image.preinit()
    place_row_buffers()
    if "HEIF" in limits.formats:
        _add_heif()
    if not set(limits.formats) <= set(Image.OPEN):
        Image.init()  # slow: every reader of Pillow
    unknown = [name for name in limits.formats if name not in Image.OPEN]
    if unknown or not limits.formats:
        names = ", ".join(sorted(Image.OPEN))
        raise SettingsError(f"CLASSYARD_FORMATS: no {', '.join(unknown) or 'format'}; of: {names}")
    # Pictures that are too large get a code from us, and a broken EXIF block is no broken picture.
    # Here and not around each picture: `catch_warnings` swaps a list that all threads share.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    most = max(limits.max_pixels, limits.max_tiff_pixels if "TIFF" in limits.formats else 0)
    if (Image.MAX_IMAGE_PIXELS or most) < most:
        Image.MAX_IMAGE_PIXELS = most
    ImageFile.LOAD_TRUNCATED_IMAGES = limits.accept_truncated


def _add_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        raise SettingsError(
            "CLASSYARD_FORMATS: HEIF needs one more package: pip install 'classyard[heic]'"
        ) from None
    # A child has one core; thumbnails inside the file are none of our pictures.
    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
