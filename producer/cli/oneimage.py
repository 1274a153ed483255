"""One image on the terminal: its labels as bars, beside the picture itself where that can be drawn."""

from __future__ import annotations

import io
import logging
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from core.types import ResultStatus, printable
from db import queries, results
from db.results import ResultFilter
from producer.answers import answer
from producer.cli.options import out
from producer.cli.tables import UNLIMITED, elide
from producer.sources import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from sqlalchemy import Row

    from core.settings import Settings
    from core.types import Prediction
    from db.session import Database
    from producer.thumbnails import Thumbnail

#: The picture's width and height in cells, and what a line beside it needs.
PICTURE: Final = (32, 14)
BESIDE: Final = 44
#: Longer side of the picture in pixels: as many as a sharp terminal has in so many cells.
SIDE: Final = 640
#: Cells of a bar, and of what stands before and behind a label.
BAR: Final = 30
AROUND: Final = len("  1  ") + len("  100.00%  ")


def one_image(database: Database, settings: Settings, job_id: int) -> None:
    """Print how a job's only image ended."""
    for row in results.stream_results(database, job_id, ResultFilter(limit=1)):
        console = out()
        room = shutil.get_terminal_size((UNLIMITED, 0)).columns
        if not draws(console, room) or (picture := _picture(database, settings, row)) is None:
            _print(console, room, row)
            continue
        beside = Table.grid(padding=(0, 2, 0, 0))
        beside.add_column(width=PICTURE[0])
        beside.add_row(picture, Group(*_lines(row, room - PICTURE[0] - 2)))
        console.print(beside)


def bars(predictions: Sequence[Prediction], room: int) -> list[Text]:
    """Return a line for each prediction, none wider than `room` cells: rank, label, score, bar."""
    # Labels come from a file of the model's: nothing in them may reach the terminal as a command.
    labels = [printable(one.label) for one in predictions]
    widest = max((cell_len(label) for label in labels), default=0)
    width = max(8, min(max(30, widest), room - AROUND - BAR // 3))
    length = min(BAR, room - AROUND - width)
    lines = []
    for rank, (one, name) in enumerate(zip(predictions, labels, strict=True), 1):
        label = elide(name, width)
        line = Text(f"{rank:>3}  {label}{' ' * (width - cell_len(label))}  {one.score:>7.2%}  ")
        line.append("█" * round(one.score * length), "cyan")
        lines.append(line)
    return lines


def _print(console: Console, room: int, row: Row[Any]) -> None:
    for line in _lines(row, room):
        console.print(line, soft_wrap=True)


def _lines(row: Row[Any], room: int) -> list[Text]:
    said = answer(row)
    lines = [Text(elide(name_of(row.uri), room), "bold")]
    if said.status == ResultStatus.FAILED:
        return [*lines, Text.assemble((row.error_code, "red"), f": {printable(row.error or '')}")]
    return [*lines, *bars(said.predictions, room)]


def draws(console: Console, room: int) -> bool:
    """Whether there is a terminal that shows colours, and room for a picture beside the bars."""
    return (
        console.is_terminal
        and not console.no_color
        and console.color_system in {"256", "truecolor"}
        and sys.stdin.isatty()
        and room >= PICTURE[0] + BESIDE
    )


def _picture(database: Database, settings: Settings, row: Row[Any]) -> RenderableType | None:
    """Return the picture, None if it cannot be had or drawn."""
    from producer.thumbnails import NoThumbnail, Thumbnails, Wanted

    if row.status == ResultStatus.FAILED:
        return None
    roots = database.read(queries.options, row.job_id).get("roots") or ()
    with Thumbnails(settings) as thumbnails:
        made = thumbnails.make(Wanted(row.uri, roots, SIDE, row.content_hash))
    return None if isinstance(made, NoThumbnail) else _drawn(made)


def _drawn(thumbnail: Thumbnail) -> RenderableType | None:
    """Have a library draw what our own process has made: no stranger's bytes reach it."""
    # It asks the terminal what it can show; that one does not answer is no news for a person.
    logging.getLogger("textual_image").addHandler(logging.NullHandler())
    try:
        from textual_image.renderable import Image
    except ImportError:  # the extra `terminal` is not installed
        return None
    width, height = PICTURE
    if thumbnail.height > thumbnail.width:
        return Image(io.BytesIO(thumbnail.content), width="auto", height=height)
    return Image(io.BytesIO(thumbnail.content), width=width, height="auto")
