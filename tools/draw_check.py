"""Draw the picture that the ImageNet models check themselves with: a crossword puzzle.

A drawing of our own, so that no photograph has to be licensed; of all that was tried (clocks, signs,
keyboards, jigsaws) ImageNet networks are surest of this one.

    python tools/draw_check.py          writes core/catalog/imagenet/check.png
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

TARGET: Final = Path(__file__).parent.parent / "core" / "catalog" / "imagenet" / "check.png"
SIDE: Final = 512
CELLS: Final = 13
CELL: Final = SIDE // (CELLS + 1)
MARGIN: Final = (SIDE - CELLS * CELL) // 2
PAPER: Final = 238


def black_cells() -> set[tuple[int, int]]:
    """Return the black cells, placed by chance but symmetric under a half turn, as is customary."""
    chance = random.Random(1)  # noqa: S311 - a drawing
    cells = {(r, c) for r in range(CELLS) for c in range(CELLS) if chance.random() < 0.17}
    return cells | {(CELLS - 1 - r, CELLS - 1 - c) for r, c in cells}


def draw() -> Image.Image:
    """Draw the empty puzzle: a number wherever a word starts."""
    image = Image.new("L", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(image)
    black = black_cells()
    number = 1
    for r in range(CELLS):
        for c in range(CELLS):
            x, y = MARGIN + c * CELL, MARGIN + r * CELL
            filled = (r, c) in black
            pen.rectangle((x, y, x + CELL, y + CELL), 0 if filled else 255, 0, width=2)
            starts = r == 0 or c == 0 or (r, c - 1) in black or (r - 1, c) in black
            if starts and not filled:
                pen.text((x + 4, y + 2), str(number), 0, font_size=12)
                number += 1
    return image


if __name__ == "__main__":
    draw().quantize(8).save(TARGET, optimize=True)
