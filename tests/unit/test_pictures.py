"""Every kind of picture that docs/pictures.md names looks to the model as the document says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from core.errors import Code
from core.limits import ImageLimits
from core.modelparts import InputSpec
from core.settings import read_settings
from core.types import Failure
from tests.support.kinds import KINDS, file, photo
from worker.decode import Decoded, decode, prepare

DOCUMENT = Path(__file__).parents[2] / "docs" / "pictures.md"
FORMATS = "JPEG,PNG,WEBP,GIF,BMP,TIFF,PPM,TGA,QOI,JP2,AVIF,HEIC"
LIMITS = read_settings(formats=FORMATS).image_limits
SPEC = InputSpec(height=32, width=32)
GRAY = InputSpec(height=32, width=32, color="gray")


@pytest.fixture(autouse=True)
def _prepared() -> None:
    prepare(LIMITS)


def seen(data: bytes, spec: InputSpec = SPEC, limits: ImageLimits = LIMITS) -> np.ndarray:
    result = decode(data, spec, limits)
    assert isinstance(result, Decoded), result
    return result.pixels.astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_picture_looks_as_it_should(kind: str) -> None:
    for number, pair in enumerate(KINDS[kind]()):
        plain = file(pair.looks.convert("RGB"), "PNG")
        difference = np.abs(seen(pair.data) - seen(plain)).max()
        assert difference <= pair.tolerance, f"number {number} of {kind}: {difference}"
        grey = np.abs(seen(pair.data, GRAY) - seen(plain, GRAY)).max()
        assert grey <= pair.tolerance + 1, f"number {number} of {kind}, for a grey model: {grey}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_picture_has_the_size_of_the_upright_one(kind: str) -> None:
    for pair in KINDS[kind]():
        result = decode(pair.data, SPEC, LIMITS)
        assert isinstance(result, Decoded)
        assert (result.width, result.height) == pair.looks.size


def test_the_document_has_a_row_for_each_kind_and_no_other() -> None:
    _, _, section = DOCUMENT.read_text("utf-8").partition("## Kinds of pictures")
    rows = re.findall(r"^\| ([^|]+?) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert rows[0] == "picture"
    assert rows[1:] == list(KINDS)


def test_12_bits_in_16_without_a_word_about_it_take_a_window_of_the_model() -> None:
    values = np.asarray(photo("L")).astype(np.uint16) << 4
    data = file(Image.fromarray(values), "PNG")
    windowed = SPEC.model_copy(update={"gray_window": (0.0, 4095.0)})
    assert seen(data).max() < 16
    np.testing.assert_allclose(seen(data, windowed), seen(file(photo("L"), "PNG")), atol=1)


def test_a_window_clips_what_lies_outside() -> None:
    values = np.linspace(-2000, 4000, 64 * 64).reshape(64, 64).astype(np.int32)
    windowed = GRAY.model_copy(update={"gray_window": (0.0, 2000.0)})
    pixels = seen(file(Image.fromarray(values), "TIFF"), windowed)
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert (pixels == 0).mean() == pytest.approx(1 / 3, abs=0.05)


def test_a_filter_that_overshoots_does_not_shift_the_scale() -> None:
    """Bicubic goes below 0 and above 65,535 at an edge; that says nothing about the file."""
    values = np.zeros((64, 64), np.int32)
    values[:, 32:] = 65_535
    spec = SPEC.model_copy(update={"filter": "bicubic"})
    pixels = seen(file(Image.fromarray(values), "TIFF"), spec)
    assert (pixels[:, :12] == 0).all()
    assert (pixels[:, -12:] == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_picture_that_is_cut_off_fails_unless_the_setting_accepts_it(kind: str) -> None:
    # Noise, so that half of the file is about half of the picture.
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = Image.fromarray(noise).quantize(64) if kind == "GIF" else Image.fromarray(noise)
    data = file(whole, kind, **({"interlace": False} if kind == "GIF" else {}))
    cut = data[: len(data) * 6 // 10]
    refused = decode(cut, SPEC, LIMITS)
    assert isinstance(refused, Failure)
    assert refused.code is Code.DECODE_FAILED
    lenient = read_settings(formats=FORMATS, accept_truncated=True).image_limits
    try:
        prepare(lenient)
        result = decode(cut, SPEC, lenient)
    finally:
        prepare(LIMITS)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    if kind == "WEBP":  # its decoder gives all or nothing
        assert isinstance(result, Failure)
        return
    assert isinstance(result, Decoded), result
    rows = np.abs(result.pixels.astype(int) - seen(data)).max(axis=(1, 2))
    rows = rows[::-1] if kind == "BMP" else rows  # stored from the bottom up
    assert rows[:4].max() <= 2
    assert rows[-4:].min() > 40


def test_the_setting_takes_the_names_that_people_use() -> None:
    limits = read_settings(formats="jpg,tif,heic,jp2,apng").image_limits
    assert limits.formats == ("JPEG", "TIFF", "HEIF", "JPEG2000", "PNG")
