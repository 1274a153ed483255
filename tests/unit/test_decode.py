"""Decode: geometry. The same picture gives the same pixels, however it is stored or turned."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from core.errors import Code, SettingsError
from core.limits import ImageLimits
from core.modelparts import InputSpec
from core.types import Failure
from tests.support.kinds import STORED_AS
from worker.decode import Decoded, decode, prepare

LIMITS = ImageLimits(("JPEG", "PNG", "WEBP", "GIF", "BMP"), 50_000_000, 20_000)
SPEC = InputSpec(height=32, width=32)


@pytest.fixture(autouse=True)
def _prepared() -> None:
    prepare(LIMITS)


def photo(width: int, height: int, seed: int = 7) -> Image.Image:
    """A smooth picture without any symmetry."""
    values = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def stored(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(data: bytes, spec: InputSpec = SPEC) -> Decoded:
    result = decode(data, spec, LIMITS)
    assert isinstance(result, Decoded), result
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == (spec.height, spec.width, spec.channels)
    assert result.pixels.flags.c_contiguous
    return result


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (33, 97), (16, 20)])
@pytest.mark.parametrize("filter", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_crop_is_one_resize_with_a_box(size: tuple[int, int], filter: str) -> None:
    image = photo(*size)
    spec = InputSpec(height=32, width=32, crop_fraction=0.8, filter=filter)
    side = min(size) * 0.8
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = (left, top, size[0] - left, size[1] - top)
    wanted = image.resize((32, 32), Image.Resampling[filter.upper()], box=box)

    result = decoded(stored(image, "PNG"), spec)

    assert (result.width, result.height) == size
    np.testing.assert_array_equal(result.pixels, np.asarray(wanted))


def test_squash_is_one_resize_of_everything() -> None:
    image = photo(70, 41)
    spec = InputSpec(height=20, width=30, resize="squash")
    wanted = image.resize((30, 20), Image.Resampling.BILINEAR)

    result = decoded(stored(image, "PNG"), spec)

    np.testing.assert_array_equal(result.pixels, np.asarray(wanted))


def test_crop_keeps_the_proportions_of_an_oblong_target() -> None:
    image = photo(400, 100)
    spec = InputSpec(height=20, width=40, crop_fraction=1)
    wanted = image.resize((40, 20), Image.Resampling.BILINEAR, box=(100, 0, 300, 100))

    result = decoded(stored(image, "PNG"), spec)

    np.testing.assert_array_equal(result.pixels, np.asarray(wanted))


@pytest.mark.parametrize(
    ("size", "scale"),
    [((600, 450), 8), ((300, 301), 8), ((150, 600), 4), ((80, 99), 2), ((60, 60), 1)],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_large_enough(
    size: tuple[int, int], scale: int
) -> None:
    data = stored(photo(*size), "JPEG", quality=95)
    side = min(size) * SPEC.crop_fraction
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = tuple(edge / scale for edge in (left, top, size[0] - left, size[1] - top))
    with Image.open(BytesIO(data)) as small:
        small.draft(None, (size[0] // scale, size[1] // scale))
        assert small.size == (-(-size[0] // scale), -(-size[1] // scale))
        assert side / scale >= 32 or scale == 1
        wanted = small.resize((32, 32), Image.Resampling.BILINEAR, box=box)

    result = decoded(data)

    assert (result.width, result.height) == size
    np.testing.assert_array_equal(result.pixels, np.asarray(wanted))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "spec",
    [SPEC, InputSpec(height=24, width=40), InputSpec(height=24, width=40, resize="squash")],
    ids=["square", "oblong", "squash"],
)
def test_exif_orientation_gives_the_upright_pixels(
    orientation: int, format: str, spec: InputSpec
) -> None:
    image = photo(96, 64)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {"lossless": True}
    upright = decoded(stored(image, format, **options), spec)
    raw = image if STORED_AS[orientation] is None else image.transpose(STORED_AS[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Classyard"

    turned = decoded(stored(raw, format, exif=exif, **options), spec)

    assert (turned.width, turned.height) == (96, 64)
    # Rows and columns are rounded in the other order; JPEG's blocks lie elsewhere.
    assert difference(turned.pixels, upright.pixels) <= (8 if format == "JPEG" else 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation_is_applied_once(orientation: int) -> None:
    image = photo(96, 64)
    raw = image if STORED_AS[orientation] is None else image.transpose(STORED_AS[orientation])
    limits = ImageLimits(("TIFF",), 10**6, 1000)

    turned = decode(stored(raw, "TIFF", tiffinfo={0x0112: orientation}), SPEC, limits)

    assert isinstance(turned, Decoded)
    assert (turned.width, turned.height) == (96, 64)
    assert difference(turned.pixels, decoded(stored(image, "PNG")).pixels) <= 2


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",
    ],
    ids=["bare", "no offset", "far offset", "cut directory", "no byte order", "orientation 9"],
)
def test_broken_exif_means_upright(exif: bytes) -> None:
    image = photo(64, 48)
    wanted = decoded(stored(image, "JPEG"))

    result = decoded(stored(image, "JPEG", exif=exif))

    assert (result.width, result.height) == (64, 48)
    np.testing.assert_array_equal(result.pixels, wanted.pixels)


def test_lossless_formats_agree() -> None:
    image = photo(61, 47)
    wanted = decoded(stored(image, "PNG")).pixels

    for data in (
        stored(image, "BMP"),
        stored(image, "WEBP", lossless=True),
        stored(image.convert("RGBA"), "PNG"),
        stored(image.convert("RGBA"), "WEBP", lossless=True),
    ):
        np.testing.assert_array_equal(decoded(data).pixels, wanted)


def test_progressive_jpeg() -> None:
    image = photo(90, 60)
    baseline = decoded(stored(image, "JPEG", quality=95))
    progressive = decoded(stored(image, "JPEG", quality=95, progressive=True))
    assert difference(baseline.pixels, progressive.pixels) <= 1


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_only_the_first_frame_counts(format: str) -> None:
    red, blue = (Image.new("RGB", (40, 40), color) for color in ("red", "blue"))
    options = {"lossless": True} if format == "WEBP" else {}
    data = stored(red, format, save_all=True, append_images=[blue, red, blue], **options)

    assert (decoded(data).pixels == (255, 0, 0)).all()


def test_a_picture_of_one_pixel() -> None:
    result = decoded(stored(Image.new("RGB", (1, 1), (9, 99, 199)), "PNG"))
    assert (result.width, result.height) == (1, 1)
    assert (result.pixels == (9, 99, 199)).all()


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_the_longest_strip(size: tuple[int, int]) -> None:
    result = decoded(stored(Image.new("RGB", size, (9, 99, 199)), "PNG"))
    assert (result.width, result.height) == size
    assert (result.pixels == (9, 99, 199)).all()


def test_prepare_refuses_a_format_that_nothing_reads() -> None:
    prepare(LIMITS)
    with pytest.raises(SettingsError, match=r"no WORD; of: .*PNG"):
        prepare(ImageLimits(("PNG", "WORD"), 1, 1))
    with pytest.raises(SettingsError, match="no format"):
        prepare(ImageLimits((), 1, 1))


def test_prepare_only_widens_pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    prepare(ImageLimits(("PNG",), 10, 10))
    assert Image.MAX_IMAGE_PIXELS == 1000
    prepare(ImageLimits(("PNG",), 5000, 5000))
    assert Image.MAX_IMAGE_PIXELS == 5000


def test_an_exception_raised_by_a_signal_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    class TimeLimitError(Exception):
        pass

    def interrupted(*args: object, **kwargs: object) -> None:
        raise TimeLimitError

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(TimeLimitError):
        decode(b"x", SPEC, LIMITS)


def test_a_name_means_nothing_and_only_allowed_formats_are_read() -> None:
    data = stored(photo(20, 20), "JPEG")
    result = decode(data, SPEC, ImageLimits(("PNG",), 10**6, 1000))
    assert result == Failure(Code.FORMAT_NOT_ALLOWED, "JPEG; allowed: PNG")
