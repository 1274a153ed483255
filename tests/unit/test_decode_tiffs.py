"""TIFFs that Pillow takes for others than they are: they look as they were stored, or they are refused."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from core.errors import Code
from core.modelparts import InputSpec
from core.settings import read_settings
from core.types import Failure
from tests.support.kinds import file, photo
from worker.decode import Decoded, decode, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = read_settings(formats="PNG,TIFF,JP2").image_limits
SPEC = InputSpec(height=32, width=32)
GREY, COLORS, INKS = 1, 2, 5
UNSIGNED, SIGNED, FRACTIONS = 1, 2, 3
DEFLATE = 8


@pytest.fixture(autouse=True)
def _prepared() -> None:
    prepare(LIMITS)


def tiff(
    planes: Sequence[np.ndarray],
    photometric: int,
    order: str = "<",
    *,
    compression: int = 1,
    extra: bool = False,
) -> bytes:
    """A TIFF with each band in a plane of its own."""
    height, width = planes[0].shape
    kind = planes[0].dtype
    form = {"u": UNSIGNED, "i": SIGNED, "f": FRACTIONS}[kind.kind]
    raw = [plane.astype(kind.newbyteorder(order)).tobytes() for plane in planes]
    strips = [zlib.compress(one) if compression == DEFLATE else one for one in raw]
    count = len(planes)
    ends = np.cumsum([8, *(len(one) for one in strips)])
    tags: list[tuple[int, int, Sequence[int]]] = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [kind.itemsize * 8] * count),
        (259, 3, [compression]), (262, 3, [photometric]), (273, 4, [int(at) for at in ends[:-1]]),
        (277, 3, [count]), (278, 3, [height]), (279, 4, [len(one) for one in strips]),
        (284, 3, [2 if count > 1 else 1]), *([(338, 3, [2])] if extra else []),
        (339, 3, [form] * count),
    ]  # fmt: skip
    body = b"".join(strips) + b"\0" * (int(ends[-1]) % 2)
    directory = struct.pack(f"{order}H", len(tags))
    behind = b""
    start = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, size, values in tags:
        packed = struct.pack(f"{order}{len(values)}{'H' if size == 3 else 'I'}", *values)
        if len(packed) > 4:
            behind, packed = behind + packed, struct.pack(f"{order}I", start + len(behind))
        directory += struct.pack(f"{order}HHI", tag, size, len(values)) + packed.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(body))
    return head + body + directory + bytes(4) + behind


def bands(mode: str) -> list[np.ndarray]:
    return list(np.moveaxis(np.atleast_3d(np.asarray(photo(mode))), -1, 0))


def looks(data: bytes, picture: Image.Image, tolerance: int = 1) -> None:
    found, wanted = decode(data, SPEC, LIMITS), decode(file(picture, "PNG"), SPEC, LIMITS)
    assert isinstance(found, Decoded), found
    assert isinstance(wanted, Decoded)
    assert np.abs(found.pixels.astype(int) - wanted.pixels.astype(int)).max() <= tolerance


def refused(data: bytes) -> None:
    result = decode(data, SPEC, LIMITS)
    assert isinstance(result, Failure)
    assert result.code == Code.DECODE_FAILED


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, DEFLATE])
def test_colours_of_16_bits_in_planes(order: str, compression: int) -> None:
    planes = [band.astype(np.uint16) * 257 for band in bands("RGB")]
    looks(tiff(planes, COLORS, order, compression=compression), photo())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("kind", ["float32", "int32", "int16"])
def test_the_order_of_bytes_is_the_files(order: str, compression: int, kind: str) -> None:
    (grey,) = bands("L")
    values = grey.astype(kind) / np.float32(255) if kind == "float32" else grey.astype(kind)
    looks(tiff([values.astype(kind)], GREY, order, compression=compression), photo("L"))


def test_32_bits_without_a_sign() -> None:
    (grey,) = bands("L")
    stretched = (grey.astype(float) - grey.min()) * (255 / np.ptp(grey))
    seen = Image.fromarray(stretched.round().astype(np.uint8))
    for compression in (1, DEFLATE):
        data = tiff([grey.astype(np.uint32) * 16_843_009], GREY, compression=compression)
        looks(data, seen)


def test_8_bits_stored_as_fractions() -> None:
    looks(tiff([bands("L")[0].astype(np.float32)], GREY), photo("L"))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [(0, 0), (9, 9)])
def test_what_is_no_number_is_dark_and_changes_nothing_else(
    odd: float, where: tuple[int, int]
) -> None:
    (grey,) = bands("L")
    least = grey.copy()
    least[where] = grey.min()
    for factor in (1 / 255, 3.3):
        values = grey.astype(np.float32) * np.float32(factor)
        values[where] = odd
        plain = least.astype(np.float32) * np.float32(factor)
        found, wanted = (decode(tiff([one], GREY), SPEC, LIMITS) for one in (values, plain))
        assert isinstance(found, Decoded)
        assert isinstance(wanted, Decoded)
        assert (found.pixels == wanted.pixels).all()
    nothing = decode(tiff([np.full((9, 9), np.nan, np.float32)], GREY), SPEC, LIMITS)
    assert isinstance(nothing, Decoded)
    assert not nothing.pixels.any()


@pytest.mark.parametrize("compression", [1, DEFLATE])
def test_what_cannot_be_read_rightly_is_refused(compression: int) -> None:
    refused(tiff([*bands("L"), *bands("L")], GREY, compression=compression, extra=True))
    inks = [band.astype(np.uint16) * 257 for band in bands("CMYK")]
    if compression == 1:
        refused(tiff(inks, INKS))
    else:
        looks(tiff(inks, INKS, compression=compression), photo(), 2)


def test_jpeg_2000_in_deep_colours_is_refused_before_white_turns_black() -> None:
    data = bytearray(file(photo(), "JPEG2000", irreversible=False, no_jp2=True))
    at = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[at] == 7
    for component in range(3):
        data[at + 3 * component] = 15
    refused(bytes(data))
