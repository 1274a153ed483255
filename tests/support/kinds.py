"""One picture of every kind that docs/pictures.md promises an outcome for, beside what it looks like.

Each kind is a list of pairs: the bytes of a file, and a plain RGB picture that the model must see.
"""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

pillow_heif.register_heif_opener()

#: 32 x 32, green from top to bottom, red from left to right: arithmetic coding, which Pillow reads
#: and does not write.
ARITHMETIC = base64.b64decode(
    "/9j/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkK"
    "Cgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
    "Cgr/yQARCAAgACADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AO4Dr8Ef7m/6m9w4kzZtmpAktTfq"
    "pPkfwkwZ4nkO+yS5dfzUZX06b/KGZ3XRsJmpuc/gbGKhz9N2CglOsPLJCjh4C3Z+N88KIYP9xNi+clzbIEBUfdT6ylVW"
    "fMCrnrlPCf2pLDTTtrLo17pBJ4+++OFZ5HEjanRfXBhGHv/Z"
)

#: How a picture must be turned to be stored under each EXIF orientation.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
LOSSLESS = {"lossless": True}


@dataclass(frozen=True)
class Pair:
    """A file, the picture it holds, and by how much a value may differ from it (of 255)."""

    data: bytes
    looks: Image.Image
    tolerance: int = 0


def photo(mode: str = "RGB", size: tuple[int, int] = (61, 47)) -> Image.Image:
    """A smooth picture without any symmetry."""
    values = np.random.default_rng(7).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).convert(mode)


def file(image: Image.Image, kind: str, **how: object) -> bytes:
    """The bytes of `image` in one of Pillow's formats."""
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def _plain() -> Iterator[Pair]:
    for kind, how in (
        ("PNG", {}), ("BMP", {}), ("WEBP", LOSSLESS), ("PPM", {}), ("TGA", {}), ("QOI", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}), ("JPEG2000", {"irreversible": False}),
    ):  # fmt: skip
        yield Pair(file(photo(), kind, **how), photo())


def _grey() -> Iterator[Pair]:
    for kind in ("PNG", "BMP", "TIFF", "PPM", "TGA", "JPEG2000"):
        yield Pair(file(photo("L"), kind), photo("L"))
    yield Pair(file(photo("L"), "WEBP", **LOSSLESS), photo("L"))
    yield Pair(file(photo("L"), "JPEG", quality=100), photo("L"), 4)


def _turned() -> Iterator[Pair]:
    best = {"quality": 100, "subsampling": 0}
    for orientation, turn in STORED_AS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        raw = photo() if turn is None else photo().transpose(turn)
        yield Pair(file(raw, "JPEG", exif=exif, **best), photo(), 8)
        yield Pair(file(raw, "PNG", exif=exif), photo(), 2)
        yield Pair(file(raw, "WEBP", exif=exif, **LOSSLESS), photo(), 2)
        yield Pair(file(raw, "TIFF", tiffinfo={0x0112: orientation}), photo(), 2)
        # Its encoder makes the box `irot` or `imir` of it, which is what counts in this format.
        yield Pair(file(raw, "HEIF", exif=exif.tobytes(), quality=-1, chroma=444), photo(), 6)
        yield Pair(file(raw, "AVIF", exif=exif, quality=100, subsampling="4:4:4"), photo(), 6)


def _broken_exif() -> Iterator[Pair]:
    yield Pair(file(photo(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), photo())


def _transparent() -> Iterator[Pair]:
    alpha = Image.linear_gradient("L").resize(photo().size)
    image = photo()
    image.putalpha(alpha)
    seen = Image.new("RGB", image.size, "white")
    seen.paste(photo(), mask=alpha)
    for kind, how in (("PNG", {}), ("WEBP", LOSSLESS), ("TIFF", {}), ("TGA", {}), ("QOI", {})):
        yield Pair(file(image, kind, **how), seen, 2)


def _grey_with_alpha() -> Iterator[Pair]:
    alpha = Image.linear_gradient("L").resize(photo().size)
    image = photo("L")
    image.putalpha(alpha)
    seen = Image.new("L", image.size, 255)
    seen.paste(photo("L"), mask=alpha)
    for kind in ("PNG", "TIFF", "JPEG2000"):
        yield Pair(file(image, kind), seen, 2)


def _palette() -> Iterator[Pair]:
    image = photo().quantize(64)
    for kind in ("PNG", "GIF", "BMP", "TIFF", "TGA"):
        yield Pair(file(image, kind), image.convert("RGB"))


def _palette_with_alpha() -> Iterator[Pair]:
    image = photo().quantize(16)
    alphas = bytes(range(0, 256, 16))
    see = image.copy()
    see.info["transparency"] = alphas
    seen = Image.new("RGBA", image.size, "white")
    seen.alpha_composite(see.convert("RGBA"))
    yield Pair(file(image, "PNG", transparency=alphas), seen.convert("RGB"), 3)


def _one_bit() -> Iterator[Pair]:
    for kind in ("PNG", "BMP", "TIFF", "PPM", "GIF"):
        yield Pair(file(photo("1"), kind), photo("1").convert("L"))
    yield Pair(file(photo("1"), "TIFF", compression="group4"), photo("1").convert("L"))


def _cmyk() -> Iterator[Pair]:
    inks = photo().convert("CMYK")
    yield Pair(file(inks, "TIFF"), photo(), 2)
    yield Pair(file(inks, "JPEG", quality=100, subsampling=0), photo(), 8)


def _ycck() -> Iterator[Pair]:
    """Photoshop's: inks as YCbCr beside black, and an Adobe marker that says so."""
    black = photo("L", (61, 47)).point(lambda value: value // 3)
    inks = (*photo().convert("CMYK").split()[:3], black)
    # Pillow writes inverted inks and no transform, so hand it the inverse of what is to stand there.
    ycc = Image.merge("RGB", inks[:3]).convert("YCbCr").split()
    stored = Image.merge("CMYK", (*(band.point(lambda v: 255 - v) for band in ycc), black))
    data = file(stored, "JPEG", quality=100, subsampling=0)
    at = data.index(b"Adobe\0") + 11
    assert data[at] == 0
    data = data[:at] + b"\2" + data[at + 1 :]
    yield Pair(data, Image.merge("CMYK", inks).convert("RGB"), 8)


def _profile() -> Iterator[Pair]:
    """Linear light: 55 of 255 is 128 in sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = data.find(b"para")
    while at >= 0:
        data[at + 8 : at + 16] = struct.pack(">HHi", 0, 0, 65536)
        at = data.find(b"para", at + 4)
    linear = bytes(data).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))
    flat = Image.new("RGB", (61, 47), (55, 55, 55))
    for kind, how in (("PNG", {}), ("TIFF", {}), ("WEBP", LOSSLESS), ("JPEG", {"quality": 100})):
        data_of = file(flat, kind, icc_profile=linear, **how)
        yield Pair(data_of, Image.new("RGB", flat.size, (128, 128, 128)), 3)


def _broken_profile() -> Iterator[Pair]:
    yield Pair(file(photo(), "PNG", icc_profile=b"no profile"), photo())


def deep(high: int) -> np.ndarray:
    """The grey photograph with values from 0 to `high`."""
    return (np.asarray(photo("L")).astype(np.float64) * (high / 255)).astype(np.uint16)


def _sixteen_bits() -> Iterator[Pair]:
    values = deep(65535)
    seen = Image.fromarray((values >> 8).astype(np.uint8))
    little, big = Image.fromarray(values), Image.fromarray(values.astype(">u2"))
    for data in (
        file(little, "PNG"), file(little, "TIFF"), file(big, "TIFF"),
        file(little, "JPEG2000", irreversible=False), file(little, "PPM"),
        file(little, "TIFF", compression="tiff_lzw"),
    ):  # fmt: skip
        yield Pair(data, seen, 1)


def _twelve_bits() -> Iterator[Pair]:
    """A scanner's TIFF: two values in three bytes."""
    values = deep(4095)[:, :60]
    left, right = values[:, 0::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], axis=-1)
    raw = packed.astype(np.uint8).tobytes()
    yield Pair(_tiff(values, raw, 12, 1), Image.fromarray((values >> 4).astype(np.uint8)), 1)


def _white_is_zero() -> Iterator[Pair]:
    """An X-ray's TIFF: 0 is white."""
    values = deep(65535)
    seen = Image.fromarray(255 - (values >> 8).astype(np.uint8))
    yield Pair(_tiff(values, values.astype("<u2").tobytes(), 16, 0), seen, 1)
    eight = photo("L")
    inverse = Image.fromarray(255 - np.asarray(eight))
    yield Pair(_tiff(np.asarray(eight), eight.tobytes(), 8, 0), inverse, 1)


def _tiff(values: np.ndarray, raw: bytes, bits: int, photometric: int) -> bytes:
    height, width = values.shape
    tags = (
        (256, width), (257, height), (258, bits), (259, 1), (262, photometric),
        (273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height), (279, len(raw)), (284, 1),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + raw


def _thirty_two_bits() -> Iterator[Pair]:
    grey = np.asarray(photo("L"))
    full = (grey.astype(np.float64) - grey.min()) * (255 / int(grey.max() - grey.min()))
    stretched = Image.fromarray(full.round().astype(np.uint8))
    for values, seen in (
        (grey.astype(np.int32), photo("L")),
        (grey.astype(np.int32) * 257, photo("L")),
        (grey.astype(np.float32) / 255, photo("L")),
        (grey.astype(np.int32) * 10 - 1000, stretched),
        (grey.astype(np.float32) * 3, stretched),
    ):
        yield Pair(file(Image.fromarray(values), "TIFF"), seen, 2)


def _moving() -> Iterator[Pair]:
    frames = {"save_all": True, "append_images": [Image.new("RGB", photo().size, "red")] * 2}
    for kind, how in (("PNG", {}), ("WEBP", LOSSLESS)):
        yield Pair(file(photo(), kind, **frames, **how), photo())
    flat = Image.new("RGB", (40, 30), (0, 0, 255))
    others = [Image.new("RGB", (40, 30), "red")]
    yield Pair(file(flat, "GIF", save_all=True, append_images=others), flat)


def _pages() -> Iterator[Pair]:
    further = [Image.new("RGB", (500, 400), "red"), Image.new("L", (9, 9))]
    yield Pair(file(photo(), "TIFF", save_all=True, append_images=further), photo())


def _jpeg2000() -> Iterator[Pair]:
    yield Pair(file(photo(), "JPEG2000", irreversible=False), photo())
    yield Pair(file(photo(), "JPEG2000", irreversible=False, no_jp2=True), photo())
    lossy = {"irreversible": True, "quality_mode": "rates", "quality_layers": [4]}
    yield Pair(file(photo(), "JPEG2000", **lossy), photo(), 8)


def _avif() -> Iterator[Pair]:
    yield Pair(file(photo(), "AVIF", quality=100, subsampling="4:4:4"), photo(), 6)
    yield Pair(file(photo("L"), "AVIF", quality=100), photo("L"), 6)


def _heic() -> Iterator[Pair]:
    yield Pair(file(photo(), "HEIF", quality=-1, chroma=444), photo(), 6)
    yield Pair(file(photo(), "HEIF", quality=95), photo(), 30)


def _progressive() -> Iterator[Pair]:
    how = {"quality": 100, "subsampling": 0, "progressive": True}
    yield Pair(file(photo(), "JPEG", **how), photo(), 8)


def _arithmetic() -> Iterator[Pair]:
    steps = np.arange(32, dtype=np.uint8) * 8
    red, green = np.meshgrid(steps, steps)
    pixels = np.stack([red, green, np.full_like(red, 64)], axis=-1)
    yield Pair(ARITHMETIC, Image.fromarray(pixels), 8)


def _tiny_and_long() -> Iterator[Pair]:
    for size in ((1, 1), (1, 20_000), (20_000, 1)):
        flat = Image.new("RGB", size, (9, 99, 199))
        for kind in ("PNG", "BMP", "TIFF", "JPEG2000"):
            yield Pair(file(flat, kind), flat, 1)
        yield Pair(file(flat, "JPEG", quality=100), flat, 3)


#: By the first cell of the rows in docs/pictures.md.
KINDS: dict[str, Callable[[], Iterator[Pair]]] = {
    "RGB, 8 bits": _plain,
    "grey": _grey,
    "rotated or mirrored by EXIF (1 to 8)": _turned,
    "broken EXIF": _broken_exif,
    "transparent": _transparent,
    "grey with alpha (LA)": _grey_with_alpha,
    "palette": _palette,
    "palette with alpha": _palette_with_alpha,
    "1 bit": _one_bit,
    "CMYK": _cmyk,
    "YCCK JPEG with Adobe's marker": _ycck,
    "colour profile (ICC) that is not sRGB": _profile,
    "broken, unfitting or larger than 4 MiB colour profile": _broken_profile,
    "grey of 16 bits": _sixteen_bits,
    "grey of 12 bits (TIFF)": _twelve_bits,
    "TIFF in which 0 is white": _white_is_zero,
    "grey of 32 bits (TIFF)": _thirty_two_bits,
    "animated GIF, WebP, PNG": _moving,
    "TIFF of many pages": _pages,
    "JPEG 2000": _jpeg2000,
    "AVIF": _avif,
    "HEIC": _heic,
    "progressive JPEG": _progressive,
    "arithmetic-coded JPEG": _arithmetic,
    "1 x 1, 1 x 20,000, 20,000 x 1": _tiny_and_long,
}
