"""Options that several commands share."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from core.types import printable

#: Most characters of a stranger's text in one place.
LONGEST: Final = 1000


def children(text: str | int) -> int:
    """Read a number of child processes; 0 stands for auto.

    Raises:
        BadParameter: if it is neither a positive number nor `auto`.
    """
    word = str(text)
    if word == "auto":
        return 0
    if not (word.isascii() and word.isdigit() and int(word)):
        raise typer.BadParameter(f"{word!r} is neither a number from 1 nor 'auto'")
    return int(word)


SourceArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Folders, globs, images, .zip .tar archives, URIs, .txt .csv .jsonl .parquet manifests, or - ",
        show_default=False,
    ),
]
JobArgument = Annotated[int, typer.Argument(metavar="JOB", help="Id of the job.", min=1)]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Model to classify with ('classyard models').")
]
TopKOption = Annotated[
    int, typer.Option("--top-k", "-k", help="Labels kept per image.", min=1, max=1000)
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Name of the job; default: its sources.")
]
ChunkSizeOption = Annotated[
    int | None,
    typer.Option("--chunk-size", help="Images in a chunk; default: chosen per job.", min=1),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        "-c",
        parser=children,
        metavar="N|auto",
        help="Child processes; auto: one per core, or some per GPU.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TruthOption = Annotated[
    str | None,
    typer.Option(
        "--truth-column",
        metavar="NAME",
        help="Column of the manifest with the true label, wnid or class index ('score JOB').",
    ),
]
ReuseOption = Annotated[
    bool,
    typer.Option("--reuse", help="Take labels from any job that saw the same bytes and model."),
]
EmbeddingsOption = Annotated[
    bool,
    typer.Option("--embeddings", help="Keep each image's embedding; a Parquet export has them."),
]
MaxErrorsOption = Annotated[
    str | None,
    typer.Option(
        "--max-errors",
        metavar="N|P%",
        help="Stop the job once more images failed (P%: of those that ended, after 100).",
    ),
]
RootOption = Annotated[
    list[str] | None,
    typer.Option("--root", help="Further folder that file URIs of a manifest may lie in."),
]


def out(width: int | None = None) -> Console:
    """Return the console for results (no colour when piped, NO_COLOR respected)."""
    return Console(highlight=False, width=width)


def err() -> Console:
    """Return the console for progress and remarks."""
    return Console(stderr=True, highlight=False)


def plain(text: str) -> str:
    """Return a stranger's text as it may be printed: no markup of Rich, no terminal escapes."""
    return escape(printable(text, LONGEST))


def interactive() -> bool:
    """Whether a person watches the progress."""
    return sys.stderr.isatty()
