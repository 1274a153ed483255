"""TIFFs too large to be decoded whole: a smaller page of theirs, or averaged part by part.

A part is a strip or a tile. Each is decoded by Pillow as a small TIFF of its own, so no more than
one row of parts is ever in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, TiffImagePlugin

from worker.decode import colors, grey, tiffs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.TiffImagePlugin import TiffImageFile

    from core.limits import ImageLimits

_WIDTH, _HEIGHT, _OFFSETS, _COUNTS, _ROWS = 256, 257, 273, 279, 278
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_PLANAR, _SUBFILE, _REDUCED, _ORIENTATION = 284, 254, 1, 274
#: What a decoder must know of a part: bits, compression, colours, predictor, palette, JPEG tables.
_KEPT: Final = (258, 259, 262, 266, 277, 284, 292, 317, 320, 338, 339, 347, 530, 532)
#: Pages among which a smaller one is looked for.
_PAGES: Final = 16


@dataclass(frozen=True, slots=True)
class Reduced:
    """The picture made smaller; `across` and `down` are its pixels per pixel of the file."""

    image: Image.Image
    across: float
    down: float


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of one page lie; a strip is a tile as wide as the picture."""

    size: tuple[int, int]
    part: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]


def stored_size(image: TiffImageFile) -> tuple[int, int]:
    """Return width and height as they are in the file, whatever the orientation."""
    return (image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT])


def orientation(image: TiffImageFile) -> int:
    """Return the EXIF orientation, 1 to 8."""
    value = image.tag_v2.get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def reduced(
    image: TiffImageFile, data: bytes, least: tuple[int, int], limits: ImageLimits
) -> Reduced | None:
    """Return the first page reduced, as stored, at least `least` large.

    None if that takes more than `limits.max_pixels` at once: all in one part, or hardly reduced.
    """
    size = stored_size(image)
    page = _smaller_page(image, least) if orientation(image) == 1 else None
    if page is not None and page.width * page.height <= limits.max_pixels:
        tiffs.mend(page)
        page.load()
        return Reduced(_plain(page), page.width / size[0], page.height / size[1])
    image.seek(0)
    # Twice as large as needed, so that the resize that follows has the filter's say.
    factor = _factor(size, least, 2) if _factor(size, least, 2) > 1 else _factor(size, least, 1)
    layout = _layout(image, limits.max_pixels)
    if layout is None or factor < 2 or size[0] * size[1] > limits.max_pixels * factor * factor:
        return None
    averaged = _averaged(_bands(image, data, layout), size, factor)
    return Reduced(averaged, 1 / factor, 1 / factor)


def _factor(size: tuple[int, int], least: tuple[int, int], times: int) -> int:
    """Return by how much a side may shrink and still be `times` the least."""
    return min(size[0] // (times * least[0]), size[1] // (times * least[1]))


def _smaller_page(image: TiffImageFile, least: tuple[int, int]) -> Image.Image | None:
    """Return the smallest page that says that it is another one reduced, and looks like the first."""
    size = image.size
    best: tuple[int, int] | None = None  # width, page
    for page in range(1, _PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        width, height = image.size
        says_so = image.tag_v2.get(_SUBFILE, 0) & _REDUCED and orientation(image) == 1
        alike = abs(width * size[1] - height * size[0]) <= max(size)
        if says_so and alike and width >= least[0] and height >= least[1]:
            best = min(best or (width, page), (width, page))
    if best is None:
        return None
    image.seek(best[1])
    return image


def _averaged(bands: Iterator[Image.Image], size: tuple[int, int], factor: int) -> Image.Image:
    """Return the picture with every `factor` x `factor` pixels averaged to one."""
    canvas: Image.Image | None = None
    rest: Image.Image | None = None
    top = 0
    for band in bands:
        whole = band if rest is None else _stacked(rest, band)
        last = top * factor + whole.height >= size[1]
        used = whole.height if last else whole.height - whole.height % factor
        rest = whole.crop((0, used, whole.width, whole.height)) if used < whole.height else None
        if used:
            small = whole.crop((0, 0, whole.width, used)).reduce(factor)
            canvas = canvas or Image.new(small.mode, (-(-size[0] // factor), -(-size[1] // factor)))
            canvas.paste(small, (0, top))
            top += small.height
    assert canvas is not None
    return canvas


def _layout(image: TiffImageFile, most: int) -> _Layout | None:
    tags = image.tag_v2
    size = stored_size(image)
    if tags.get(_PLANAR, 1) != 1:
        return None
    if _TILE_OFFSETS in tags:
        part = (tags[_TILE_WIDTH], tags[_TILE_HEIGHT])
        places = (tags[_TILE_OFFSETS], tags[_TILE_COUNTS])
    else:
        part = (size[0], min(tags.get(_ROWS, size[1]), size[1]))
        places = (tags[_OFFSETS], tags[_COUNTS])
    across = -(-size[0] // part[0])
    if across * part[0] * part[1] > most:
        return None
    if not len(places[0]) == len(places[1]) == across * -(-size[1] // part[1]):
        raise ValueError("parts are missing")
    return _Layout(size, part, *places)


def _bands(image: TiffImageFile, data: bytes, layout: _Layout) -> Iterator[Image.Image]:
    """Yield the rows of parts, in a mode that may be averaged."""
    width, height = layout.size
    across = -(-width // layout.part[0])
    tiled = _TILE_OFFSETS in image.tag_v2
    for row in range(len(layout.offsets) // across):
        rows = min(layout.part[1], height - row * layout.part[1])
        band: Image.Image | None = None
        for column in range(across):
            number = row * across + column
            start = layout.offsets[number]
            content = data[start : start + layout.counts[number]]
            stored_rows = layout.part[1] if tiled else rows
            part = _decoded(image, content, (layout.part[0], stored_rows))
            band = band or Image.new(part.mode, (width, rows))
            band.paste(part, (column * layout.part[0], 0))
        assert band is not None
        yield band


def _decoded(image: TiffImageFile, content: bytes, size: tuple[int, int]) -> Image.Image:
    """Decode one part as a TIFF of its own."""
    directory: Any = TiffImagePlugin.ImageFileDirectory_v2(prefix=image.tag_v2.prefix)
    for tag in _KEPT:
        if tag in image.tag_v2:
            directory.tagtype[tag] = image.tag_v2.tagtype[tag]
            directory[tag] = image.tag_v2[tag]
    directory[_WIDTH], directory[_HEIGHT] = size
    directory[_ROWS] = size[1]
    directory[_COUNTS] = len(content)
    directory[_OFFSETS] = 0  # Pillow counts it from the end of the directory
    file = BytesIO()
    directory.save(file)
    file.write(content)
    with Image.open(BytesIO(file.getvalue()), formats=("TIFF",)) as part:
        tiffs.mend(part)
        part.load()
        return _plain(part)


def _plain(page: Image.Image) -> Image.Image:
    """Return a loaded page, or a part, with values that may be averaged."""
    if not grey.is_deep(page.mode):
        return colors.averageable(page)
    deep = grey.averageable(page, page)
    # Pillow averages no 16-bit grey.
    return deep.convert("I") if deep.mode.startswith("I;16") else deep


def _stacked(upper: Image.Image, lower: Image.Image) -> Image.Image:
    both = Image.new(lower.mode, (lower.width, upper.height + lower.height))
    both.paste(upper, (0, 0))
    both.paste(lower, (0, upper.height))
    return both
