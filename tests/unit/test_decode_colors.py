"""Decode: colours. Every kind of picture becomes plain RGB or grey by the documented rule."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms

from core.limits import ImageLimits
from core.modelparts import InputSpec
from worker.decode import Decoded, decode

LIMITS = ImageLimits(("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"), 50_000_000, 20_000)
SPEC = InputSpec(height=16, width=16, crop_fraction=1)
GRAY = InputSpec(height=16, width=16, crop_fraction=1, color="gray")


def stored(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(data: bytes, spec: InputSpec = SPEC) -> np.ndarray:
    result = decode(data, spec, LIMITS)
    assert isinstance(result, Decoded), result
    assert result.pixels.shape == (16, 16, spec.channels)
    return result.pixels


def color_of(data: bytes, spec: InputSpec = SPEC) -> tuple[int, ...]:
    """The colour of a picture that has only one."""
    found = np.unique(pixels(data, spec).reshape(-1, spec.channels), axis=0)
    assert len(found) == 1, found
    return tuple(int(value) for value in found[0])


def near(a: tuple[int, ...], b: tuple[int, ...], tolerance: int = 3) -> bool:
    return all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))


def ramp(dtype: str, high: float) -> np.ndarray:
    """A 16 x 16 gradient from 0 to `high`."""
    return np.linspace(0, high, 256).reshape(16, 16).astype(dtype)


def png(size: tuple[int, int], bits: int, kind: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of hand-made chunks, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [16, 64])
def test_cmyk_jpeg_of_adobe_and_without(size: int) -> None:
    # Pillow writes the Adobe marker, and inverted inks, as Photoshop does.
    orange = Image.new("CMYK", (size, size), (0, 128, 255, 0))
    assert near(color_of(stored(orange, "JPEG", quality=100)), (255, 127, 0))


def test_gray_is_repeated_for_rgb() -> None:
    data = stored(Image.new("L", (20, 20), 77))
    assert color_of(data) == (77, 77, 77)
    assert color_of(data, GRAY) == (77,)


def test_color_becomes_luma_for_gray() -> None:
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    luma = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert near(color_of(stored(image), GRAY), (luma,), 1)
    assert near(color_of(stored(image, "JPEG"), GRAY), (luma,), 2)
    assert near(color_of(stored(image.quantize(4)), GRAY), (luma,), 1)


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    values = ramp("uint16", 65535)
    result = pixels(stored(Image.fromarray(values)), GRAY)
    np.testing.assert_array_equal(result[..., 0], values >> 8)


def test_16_bit_color_keeps_the_high_byte() -> None:
    row = b"\0" + struct.pack(">HHH", 0x1234, 0x8000, 0xFEFF) * 2
    data = png((2, 2), 16, 2, (b"IDAT", zlib.compress(row * 2)))
    assert color_of(data) == (0x12, 0x80, 0xFE)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (ramp("int32", 65535), ramp("int32", 65535) >> 8),
        (ramp("int32", 2_000_000_000), ramp("float64", 255)),
        (ramp("int32", 1000) - 500, ramp("float64", 255)),
        (ramp("float32", 1), ramp("float64", 255)),
        (ramp("float32", 0.5), ramp("float64", 127.5)),
        (ramp("float32", 9000), ramp("float64", 255)),
        (np.full((16, 16), 70_000, "int32"), np.zeros((16, 16))),
    ],
    ids=["16 in 32", "full", "signed", "fractions", "dark fractions", "wide", "flat"],
)
def test_32_bit_gray_is_scaled(values: np.ndarray, wanted: np.ndarray) -> None:
    result = pixels(stored(Image.fromarray(values), "TIFF"), GRAY)
    assert np.abs(result[..., 0] - wanted.astype(float)).max() <= 1


def test_nan_in_a_float_picture() -> None:
    values = ramp("float32", 1)
    values[3, 3] = np.nan
    pixels(stored(Image.fromarray(values), "TIFF"))


def test_one_bit_is_smoothed_not_picked() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 == 0
    result = pixels(stored(Image.fromarray(checkers)))
    assert result.min() > 100
    assert result.max() < 155


def test_palette() -> None:
    image = Image.new("P", (20, 20), 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30])
    assert color_of(stored(image)) == (10, 20, 30)
    assert color_of(stored(image, "GIF")) == (10, 20, 30)
    assert color_of(stored(image, "BMP")) == (10, 20, 30)


def test_palette_is_averaged_as_colors() -> None:
    image = Image.fromarray((np.indices((64, 64)).sum(axis=0) % 2).astype(np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    assert near(tuple(int(v) for v in pixels(stored(image)).mean(axis=(0, 1))), (100, 0, 100))


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])], ids=["index", "alphas"])
def test_transparent_palette_shows_white(transparency: int | bytes) -> None:
    image = Image.new("P", (20, 20), 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30])
    assert color_of(stored(image, transparency=transparency)) == (255, 255, 255)


def test_half_transparent_palette() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([100, 0, 200])
    assert near(color_of(stored(image, transparency=bytes([128]))), (177, 127, 227), 1)


def test_transparent_gif_shows_white() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert color_of(stored(image, "GIF", transparency=1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [
        ("RGBA", (200, 100, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (200, 100, 0, 51), (244, 224, 204)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (0, 102), (153, 153, 153)),
    ],
)
def test_alpha_lies_on_white(
    mode: str, value: tuple[int, ...], wanted: tuple[int, int, int]
) -> None:
    image = Image.new(mode, (40, 40), value)
    assert near(color_of(stored(image)), wanted, 1)
    assert near(
        color_of(stored(image), GRAY), (round(wanted @ np.array([0.299, 0.587, 0.114])),), 1
    )


def test_hidden_colors_do_not_bleed() -> None:
    # Transparent red beside opaque white: no pink where they meet.
    values = np.full((64, 64, 4), 255, np.uint8)
    values[:, 1::2] = (255, 0, 0, 0)
    assert (pixels(stored(Image.fromarray(values))) >= 254).all()


@pytest.mark.parametrize(
    ("mode", "key"), [("RGB", (1, 2, 3)), ("L", 9), ("1", 0)], ids=["RGB", "L", "1"]
)
def test_a_color_declared_transparent_shows_white(mode: str, key: object) -> None:
    data = stored(Image.new(mode, (20, 20), key), transparency=key)
    assert color_of(data) == (255, 255, 255)


@pytest.mark.parametrize("kind", [0, 2], ids=["gray", "color"])
def test_a_transparent_color_of_16_bits_is_left_alone(kind: int) -> None:
    values = 1 if kind == 0 else 3
    row = b"\0" + struct.pack(">H", 0x8000) * values * 2
    data = png(
        (2, 2), 16, kind,
        (b"tRNS", struct.pack(">H", 0x8000) * values),
        (b"IDAT", zlib.compress(row * 2)),
    )  # fmt: skip
    assert color_of(data) == (128, 128, 128)


def profile(primaries: str, gamma: float = 1.0) -> bytes:
    """A profile whose colours differ from sRGB: linear light."""
    if primaries == "sRGB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = bytearray(profile("sRGB"))
    # Give every curve (parametric) the plain gamma, and take the telling name away.
    at = data.find(b"para")
    while at >= 0:
        data[at + 8 : at + 12] = struct.pack(">HH", 0, 0)
        data[at + 12 : at + 16] = struct.pack(">i", round(gamma * 65536))
        at = data.find(b"para", at + 4)
    return bytes(data).replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be"))


def test_a_profile_is_brought_to_srgb() -> None:
    linear = Image.new("RGB", (20, 20), (55, 55, 55))  # 0.2157 in linear light is 128 in sRGB
    data = stored(linear, icc_profile=profile("linear"))
    assert near(color_of(data), (128, 128, 128), 2)
    assert near(color_of(data, GRAY), (128,), 2)
    jpeg = stored(linear.resize((200, 200)), "JPEG", quality=100, icc_profile=profile("linear"))
    assert near(color_of(jpeg, GRAY), (128,), 3)


def test_an_srgb_profile_changes_nothing() -> None:
    image = Image.new("RGB", (20, 20), (55, 155, 255))
    assert color_of(stored(image, icc_profile=profile("sRGB"))) == (55, 155, 255)


@pytest.mark.parametrize(
    "data",
    [b"no profile", b"\0" * 200, profile("linear")[:300], b"x" * (5 << 20)],
    ids=["short", "zeros", "cut", "huge"],
)
def test_a_broken_profile_is_ignored(data: bytes) -> None:
    image = Image.new("RGB", (20, 20), (55, 155, 255))
    assert near(color_of(stored(image, "JPEG", quality=100, icc_profile=data)), (55, 155, 255))


@pytest.mark.parametrize("mode", ["L", "CMYK", "LA"])
def test_a_profile_for_other_colors_is_ignored(mode: str) -> None:
    image = Image.new("RGB", (20, 20), (55, 55, 55)).convert(mode)
    format = "JPEG" if mode == "CMYK" else "PNG"
    data = stored(image, format, icc_profile=profile("linear"))
    assert near(color_of(data), (55, 55, 55))


def test_rarer_modes_of_formats_that_must_be_allowed_first() -> None:
    image = Image.new("RGB", (20, 20), (55, 155, 255))
    assert near(color_of(stored(image.convert("YCbCr"), "TIFF")), (55, 155, 255))
    assert near(color_of(stored(image.convert("LAB"), "TIFF")), (55, 155, 255), 6)
    assert color_of(stored(image, "PPM")) == (55, 155, 255)
