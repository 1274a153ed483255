"""Pictures to classify: made by a seeded script, as large and as varied as photographs are.

Gradients, fractal noise as texture, filled shapes with hard edges: JPEG files of about the size
that photographs of the same dimensions have, which is what decoding time depends on.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.workplace import workplace

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Width and height.
Size = tuple[int, int]

WEB: Final = (500, 375)
CAMERA: Final = (4000, 3000)
QUALITY: Final = 88


def pictures(count: int, size: Size = WEB) -> list[Path]:
    """Return `count` JPEG files of `size`, made when asked for the first time."""
    folder = workplace(f"pictures-{size[0]}x{size[1]}")
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    if missing:
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            list(pool.map(partial(_write, folder, size), missing, chunksize=8))
    return paths


def draw(number: int, size: Size) -> Image.Image:
    """Return picture `number`; the same every time."""
    random = np.random.default_rng(number)
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32),
                       np.linspace(0, 1, height, dtype=np.float32))  # fmt: skip
    slope, base = random.uniform(-90, 90, (2, 3)), random.uniform(60, 190, 3)
    canvas = base + x[..., None] * slope[0] + y[..., None] * slope[1]
    canvas += _texture(random, size)[..., None] * random.uniform(0.5, 1.0, 3)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(random.integers(4, 12))):
        centre = random.uniform(0, 1, 2) * size
        points = centre + random.normal(0, 0.15, (int(random.integers(3, 8)), 2)) * size
        color = tuple(int(value) for value in random.integers(0, 256, 3))
        pen.polygon([tuple(point) for point in points], fill=color)
    grain = random.normal(0, random.uniform(4, 16), (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _texture(random: np.random.Generator, size: Size) -> NDArray[np.float32]:
    """Return noise of every scale, the coarse stronger than the fine, as nature has it."""
    total = np.zeros((size[1], size[0]), np.float32)
    cells, strength = 4, random.uniform(20, 60)
    while cells < min(size):
        field = random.normal(0, strength, (cells, cells)).astype(np.float32)
        total += np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BICUBIC))
        cells, strength = cells * 2, strength * 0.6
    return total


def _write(folder: Path, size: Size, number: int) -> None:
    buffer = io.BytesIO()
    draw(number, size).save(buffer, "JPEG", quality=QUALITY)
    draft = folder / f"{number}.draft"
    draft.write_bytes(buffer.getvalue())
    draft.replace(folder / f"{number:05d}.jpg")
