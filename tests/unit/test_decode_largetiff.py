"""Decode: TIFFs of too many pixels are read reduced, part by part, and look as if read whole."""

from __future__ import annotations

import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from core.errors import Code
from core.limits import ImageLimits
from core.modelparts import InputSpec
from core.types import Failure
from worker.decode import Decoded, decode, prepare

SPEC = InputSpec(height=32, width=32)
SIZE = (700, 500)
#: A fraction of the picture's pixels, so that it must be read reduced.
SMALL = ImageLimits(("TIFF",), 100_000, 20_000, 10_000_000)
WHOLE = ImageLimits(("TIFF",), 10_000_000, 20_000, 0)


DEEP = {"I;16": "<u2", "I;16B": ">u2", "I": "int32", "F": "float32"}


@pytest.fixture(autouse=True)
def _prepared() -> None:
    prepare(SMALL)


def photo(size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """A smooth picture without any symmetry."""
    values = np.random.default_rng(7).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size, Image.Resampling.BICUBIC).convert(mode)


def tiff(image: Image.Image, rows: int = 13, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, "TIFF", tiffinfo={278: rows, **options.pop("tags", {})}, **options)
    return file.getvalue()


def tiled(image: Image.Image, side: int) -> bytes:
    """An uncompressed TIFF in tiles, which Pillow does not write."""
    tiles = [
        image.crop((left, top, left + side, top + side)).tobytes()
        for top in range(0, image.height, side)
        for left in range(0, image.width, side)
    ]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[258] = *image.size, (8, 8, 8)
    tags[259], tags[262], tags[277] = 1, 2, 3
    tags[322] = tags[323] = side
    tags[324], tags[325] = (0,) * len(tiles), tuple(map(len, tiles))
    file = BytesIO()
    tags.save(file)
    ends = np.cumsum([len(file.getvalue()), *map(len, tiles)])
    tags[324] = tuple(int(end) for end in ends[:-1])
    file = BytesIO()
    tags.save(file)
    return file.getvalue() + b"".join(tiles)


def looks_alike(data: bytes, spec: InputSpec = SPEC, tolerance: int = 3) -> None:
    part, whole = decode(data, spec, SMALL), decode(data, spec, WHOLE)
    assert isinstance(part, Decoded), part
    assert isinstance(whole, Decoded), whole
    assert (part.width, part.height) == (whole.width, whole.height)
    difference = np.abs(part.pixels.astype(int) - whole.pixels.astype(int))
    assert difference.max() <= tolerance


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
def test_strips_of_any_compression(compression: str | None) -> None:
    rows = 16 if compression == "jpeg" else 13
    looks_alike(tiff(photo(), rows, compression=compression))


@pytest.mark.parametrize("side", [64, 80, 128])
def test_tiles(side: int) -> None:
    looks_alike(tiled(photo(), side))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I;16B", "I", "F"])
def test_every_mode(mode: str) -> None:
    image = photo(mode="L" if mode in DEEP else mode if mode != "P" else "RGB")
    if mode == "P":
        image = image.quantize(64)
    elif mode in DEEP:
        grey = np.asarray(image).astype("float64") * 256
        image = Image.fromarray(grey.astype(DEEP[mode]))
    # A bit is averaged over the whole model's pixel either way, but not with the same weights.
    looks_alike(tiff(image), tolerance=12 if mode == "1" else 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "spec", [InputSpec(height=24, width=40), InputSpec(height=24, width=40, resize="squash")]
)
def test_orientation(orientation: int, spec: InputSpec) -> None:
    looks_alike(tiff(photo(), tags={274: orientation}), spec)


def test_a_smaller_page_is_taken_instead() -> None:
    """The pages differ here, to see which one was read."""
    pages = [Image.new("RGB", size, color) for size, color in (
        (SIZE, "red"), ((350, 250), "lime"), ((70, 50), "blue"), ((14, 10), "black"),
    )]  # fmt: skip
    file = BytesIO()
    for page in pages[1:]:
        page.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    result = decode(file.getvalue(), SPEC, SMALL)
    assert isinstance(result, Decoded), result
    assert (result.width, result.height) == SIZE
    assert (result.pixels == (0, 0, 255)).all()


def test_one_part_as_large_as_the_picture_is_refused() -> None:
    failure = decode(tiff(photo(), SIZE[1], compression="tiff_lzw"), SPEC, SMALL)
    assert failure == Failure(Code.PIXELS_EXCEEDED, "0.3 MP > 0.1 MP")


def test_more_than_the_limit_of_tiffs_is_refused() -> None:
    limits = ImageLimits(("TIFF",), 100_000, 20_000, 300_000)
    failure = decode(tiff(photo()), SPEC, limits)
    assert isinstance(failure, Failure)
    assert failure.code is Code.PIXELS_EXCEEDED


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_large_tiff_that_is_cut_off_is_refused(cut: float) -> None:
    data = tiff(photo(), compression="tiff_lzw")
    failure = decode(data[: int(len(data) * cut)], SPEC, SMALL)
    assert isinstance(failure, Failure)
    assert failure.code is Code.DECODE_FAILED


def test_memory_stays_far_below_that_of_the_picture() -> None:
    limits = ImageLimits(("TIFF",), 50_000_000, 20_000, 200_000_000)
    prepare(limits)
    data = tiff(Image.new("L", (12_000, 8_000), 77), 64, compression="tiff_adobe_deflate")
    tracemalloc.start()
    result = decode(data, SPEC, limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(result, Decoded), result
    assert (result.pixels == 77).all()
    assert peak < 20_000_000
