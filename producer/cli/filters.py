"""Options that say which results are meant; shared by the commands that read rows."""

from __future__ import annotations

from typing import Annotated

import typer

from core.errors import code_named
from core.types import ResultStatus

LabelOption = Annotated[str | None, typer.Option("--label", help="Only this top-1 label.")]
ClassOption = Annotated[
    int | None, typer.Option("--class-index", help="Only this top-1 class.", min=0)
]
MinScoreOption = Annotated[
    float | None, typer.Option("--min-score", help="Top-1 score at least.", min=0, max=1)
]
MaxScoreOption = Annotated[
    float | None, typer.Option("--max-score", help="Top-1 score at most.", min=0, max=1)
]
MinMarginOption = Annotated[
    float | None, typer.Option("--min-margin", help="Top-1 minus second at least.", min=0, max=1)
]
MaxMarginOption = Annotated[
    float | None, typer.Option("--max-margin", help="Top-1 minus second at most.", min=0, max=1)
]
StatusOption = Annotated[
    ResultStatus | None, typer.Option("--status", help="Only images that ended like this.")
]
FailedOption = Annotated[bool, typer.Option("--failed", help="As --status failed.")]
CodeOption = Annotated[
    str | None,
    typer.Option("--code", metavar="CODE", help="Only this error code.", parser=code_named),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only images whose column of the manifest has this value; may be repeated.",
    ),
]
UncertainOption = Annotated[
    bool,
    typer.Option(
        "--uncertain", help="What a person should look at: lowest margin, highest entropy first."
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Most rows.")]


def chosen_status(status: ResultStatus | None, *, failed: bool) -> ResultStatus | None:
    """Return the status asked for in either of two ways."""
    return ResultStatus.FAILED if failed else status


def chosen_columns(pairs: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Return the names and values of `--where`."""
    found = []
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"'{pair}' is not NAME=VALUE", param_hint="--where")
        found.append((name, value))
    return tuple(found)
