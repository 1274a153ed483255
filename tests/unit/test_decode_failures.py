"""Decode: what strangers send. Every byte string gives a picture or a typed failure, never more."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import Code
from core.limits import ImageLimits
from core.modelparts import InputSpec
from core.types import Failure
from tests.support.pictures import chunk, scans
from worker.decode import Decoded, decode, prepare

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
LIMITS = ImageLimits(FORMATS, 50_000_000, 20_000)
SPEC = InputSpec(height=16, width=16)


def stored(format: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    values = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def failure(data: bytes, limits: ImageLimits = LIMITS) -> Failure:
    result = decode(data, SPEC, limits)
    assert isinstance(result, Failure), result
    return result


def box(brand: bytes) -> bytes:
    return b"\0\0\0\x20ftyp" + brand + b"\0" * 100


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        pytest.param(b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page", id="html"),
        pytest.param(b"\n  <HTML lang=en>", "an HTML page", id="html capitals"),
        pytest.param(b"<html><body><svg></svg></body>", "an HTML page", id="html with svg"),
        pytest.param(b'{"error": "not found"}', "JSON", id="json"),
        pytest.param(b'\xef\xbb\xbf [{"a": 1}]', "JSON", id="json with mark"),
        pytest.param(b"<?xml version='1.0'?><Error>AccessDenied</Error>", "XML", id="xml"),
        pytest.param(b"Not found\r\n", "text", id="text"),
        pytest.param(("Grüße, " * 300).encode(), "text", id="utf-8"),
        pytest.param(b" ", "text", id="blank"),
        pytest.param(b"\0" * 5000, "zero bytes only", id="zeros"),
        pytest.param(b"\0\1\2\3\xfe\xff", "unknown bytes: 00 01 02 03 fe ff", id="noise"),
        pytest.param(b"PK\3\4", "unknown bytes: 50 4b 03 04", id="zip"),
    ],
)
def test_not_an_image(data: bytes, detail: str) -> None:
    assert failure(data) == Failure(Code.NOT_AN_IMAGE, detail)


def test_empty() -> None:
    assert failure(b"").code is Code.EMPTY


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("TIFF", stored("TIFF")),
        ("TIFF", b"MM\0*" + b"\0" * 60),
        ("PSD", b"8BPS\0\1" + b"\0" * 60),
        ("PDF", b"%PDF-1.7\n"),
        ("EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'),
        ("SVG", b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg>"),
        ("SVG", b"\xef\xbb\xbf<!DOCTYPE svg PUBLIC ''>\n<svg>"),
        ("HEIC", box(b"heic")),
        ("HEIC", box(b"mif1")),
        ("AVIF", box(b"avif")),
        ("MP4", box(b"isom")),
        ("JPEG2000", stored("JPEG2000")),
        ("JXL", b"\xff\x0a\xfa\x1f"),
        ("ICNS", b"icns\0\0\1\0"),
        ("ICO", stored("ICO")),
        ("FITS", b"SIMPLE  =                    T"),
        ("PPM", stored("PPM")),
        ("DDS", stored("DDS")),
        ("SGI", stored("SGI")),
        ("PCX", stored("PCX")),
        ("QOI", b"qoif\0\0\0\1"),
    ],
)
def test_a_known_format_that_is_not_allowed(name: str, data: bytes) -> None:
    wanted = Failure(Code.FORMAT_NOT_ALLOWED, f"{name}; allowed: JPEG, PNG, WEBP, GIF, BMP")
    assert failure(data) == wanted


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_data(format: str) -> None:
    data = stored(format)
    for length in (30, len(data) // 3, len(data) * 3 // 4):
        assert failure(data[:length]).code is Code.DECODE_FAILED, length


@pytest.mark.parametrize("format", FORMATS)
def test_only_the_first_bytes(format: str) -> None:
    for length in range(1, 30):
        code = failure(stored(format)[:length]).code
        assert code in {Code.DECODE_FAILED, Code.NOT_AN_IMAGE, Code.DIMENSIONS}, length


def test_a_wrong_checksum() -> None:
    data = bytearray(stored("PNG"))
    data[29] ^= 0xFF
    assert failure(bytes(data)).code is Code.DECODE_FAILED


def test_what_follows_a_picture_is_ignored() -> None:
    assert isinstance(decode(stored("JPEG") + b"<html>" * 99, SPEC, LIMITS), Decoded)


def test_a_side_of_zero() -> None:
    assert failure(png(0, 5)).code is Code.DIMENSIONS
    assert failure(png(5, 0)).code is Code.DIMENSIONS
    data = bytearray(stored("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = b"\0\0"  # a JPEG that tells its height later: Pillow does not wait
    assert failure(bytes(data)).code is Code.DECODE_FAILED


@pytest.mark.parametrize("size", [(1, 20_001), (20_001, 1), (2_000_000, 1)])
def test_a_side_too_long(size: tuple[int, int]) -> None:
    wanted = f"{size[0]} x {size[1]}; side: 1 to 20000"
    assert failure(png(*size)) == Failure(Code.DIMENSIONS, wanted)


def test_a_header_that_claims_too_many_pixels() -> None:
    start = perf_counter()
    assert failure(png(9000, 9000)) == Failure(Code.PIXELS_EXCEEDED, "81.0 MP > 50.0 MP")
    assert perf_counter() - start < 0.1


@pytest.mark.parametrize("side", [10_000, 19_999])
def test_pillows_own_bomb_check_is_the_same_failure(side: int) -> None:
    detail = f"{side * side / 1e6:.1f} MP > 50.0 MP"
    assert failure(png(side, side)) == Failure(Code.PIXELS_EXCEEDED, detail)


def test_no_warning_escapes() -> None:
    broken_exif = stored("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(LIMITS)
        assert failure(png(10_000, 10_000)).code is Code.PIXELS_EXCEEDED
        assert isinstance(decode(broken_exif, SPEC, LIMITS), Decoded)
    assert caught == []


def test_a_gif_whose_frame_is_larger_than_its_screen() -> None:
    screen = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0) + b"\x02\x00;"
    assert failure(screen + b"!\xf9\x04\x08\0\0\0\0" + frame).code is Code.PIXELS_EXCEEDED


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_bomb_in_a_text_chunk(name: bytes) -> None:
    bomb = zlib.compress(bytes(40 << 20), 9)
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[name]
    image = chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
    start = perf_counter()
    assert failure(png(1, 1, chunk(name, head + bomb), image)).code is Code.DECODE_FAILED
    assert perf_counter() - start < 1


@pytest.mark.parametrize(
    "data",
    [scans(3000, 20_000), b"\xff\xd8" + b"\xff\xe5\0\2" * 2_000_000],
    ids=["scans", "markers"],
)
def test_a_small_file_that_asks_for_minutes_is_given_up(data: bytes) -> None:
    start = perf_counter()
    late = failure(data, ImageLimits(FORMATS, 50_000_000, 20_000, seconds=0.2))
    assert (late.code, late.detail) == (Code.DECODE_TIMEOUT, "not decoded within 0.2 s")
    assert perf_counter() - start < 5


def test_many_comments_before_nothing_take_no_time() -> None:
    start = perf_counter()
    assert failure(b"<!---->" * 10_000).code is Code.NOT_AN_IMAGE
    assert perf_counter() - start < 0.1


def test_the_detail_is_one_short_line() -> None:
    limits = ImageLimits(("PNG",), 10**6, 1000)
    for data in (b"\x1b[31m\n", stored("JPEG"), stored("PNG")[:100], b"\xff\xd8\xff\n\x1b"):
        detail = failure(data, limits).detail
        assert detail
        assert detail.isprintable()
        assert len(detail) <= 300


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_raise(data: bytes) -> None:
    assert isinstance(decode(data, SPEC, LIMITS), Decoded | Failure)


@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    st.floats(0.02, 1),
)
@settings(max_examples=400, deadline=None)
def test_damaged_pictures_never_raise(
    format: str, damage: list[tuple[float, int]], kept: float
) -> None:
    data = bytearray(stored(format, (24, 20)))
    for place, value in damage:
        data[int(place * len(data))] = value
    limits = ImageLimits(FORMATS, 1_000_000, 2_000)
    result = decode(bytes(data[: int(kept * len(data)) + 1]), SPEC, limits)
    assert isinstance(result, Decoded | Failure)
