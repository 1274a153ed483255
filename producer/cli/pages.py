"""Pages: HTML files that commands write, and what they say about them."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import StoppedError, UsageError
from producer.cli.options import err, interactive

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.report import Written

#: Thumbnails in a page, unless told otherwise.
THUMBNAILS = 240

ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write an HTML page to look at, too."),
]
ThumbnailsOption = Annotated[
    int, typer.Option("--thumbnails", min=0, max=5000, help="Most thumbnails in the page.")
]


def check_page(path: Path | None) -> None:
    """Refuse a page that could not be written hours later.

    Raises:
        UsageError: if it is a folder, or its folder is not there.
    """
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"--report: {path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--report: there is no folder {path.absolute().parent}")


def write_page(path: Path, write: Callable[[], Written], *, as_json: bool = False) -> None:
    """Have a page written and say what is in it.

    Raises:
        StoppedError: at Ctrl-C.
        ClassyardError: if it cannot be written.
    """
    # SIGTERM like Ctrl-C: the part of a file that was written must go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if interactive():
            with err().status(f"writing {path.name}"):
                written = write()
        else:
            written = write()
    except KeyboardInterrupt:
        raise StoppedError(f"interrupted; {path} was not written") from None
    if as_json:
        record = {"path": str(path), "bytes": written.bytes, "rows": written.rows}
        record |= {"thumbnails": written.thumbnails, "missing": written.missing}
        sys.stdout.write(json.dumps(record) + "\n")
        return
    err().print(
        f"{path}: {written.rows:,} images, {written.thumbnails:,} thumbnails, "
        f"{written.bytes / 1e6:.1f} MB",
        markup=False,
        soft_wrap=True,
    )
