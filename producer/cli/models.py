"""`models`: what is there, whether it works, what is to be added or removed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from core.applications import APPLICATIONS
from core.errors import ModelError
from core.modelfiles import check_files
from core.modelspec import read_model, served_names
from core.prepare import examine_model
from core.settings import read_settings
from producer.cli.options import JsonOption, err, interactive, out
from producer.leftovers import find_leftovers, remove_leftover
from producer.modelstore import Addition, add_model, remove_model
from producer.record import open_record

if TYPE_CHECKING:
    from core.model import ModelSpec

models_cli = typer.Typer(add_completion=False, invoke_without_command=True, rich_markup_mode="rich")


@models_cli.callback()
def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models; add, check or remove one."""
    if context.invoked_subcommand is not None:
        return
    settings = read_settings()
    named = list(served_names(settings.models_path))
    others = [name for name in APPLICATIONS if name not in named]
    found = []
    for name in [*named, *(others if as_json else ())]:
        try:
            spec = read_model(name, settings.models_path)
            state = "ready" if spec.weights.exists() else f"no weights: put them at {spec.weights}"
            found.append((name, len(spec.labels), state, spec.description))
        except ModelError as error:
            found.append((name, 0, str(error), ""))
    if as_json:
        keys = ("name", "labels", "state", "description")
        sys.stdout.write(json.dumps([dict(zip(keys, row, strict=True)) for row in found]) + "\n")
        return
    # Folded, not cut: the state says where weights go.
    state_column = Column("state", overflow="fold")
    table = Table("model", "labels", state_column, "description", box=None, header_style="bold")
    for name, labels, state, description in found:
        table.add_row(name, str(labels), state, description)
    out().print(table)
    place = settings.models_path / "NAME" / "NAME.weights.h5"
    out().print(
        f"\nOf keras.applications, downloaded when first needed, or put at {place}:\n"
        f"{', '.join(others)}"
    )


@models_cli.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")],
    as_json: JsonOption = False,
) -> None:
    """Load a model, convert it if need be, and let it prove itself."""
    settings = read_settings()
    spec = read_model(name, settings.models_path)
    check_files(spec, weights_needed=settings.engine == "stub" or spec.application is None)
    remarks = examine_model(spec, settings)
    _report(read_model(name, settings.models_path), "ok", remarks, as_json=as_json)


@models_cli.command()
def add(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR|FILE",
            help="Folder with a model.toml; or a .keras or .tflite file, or a SavedModel folder.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Its name; default: the folder's or file's.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Of a network alone: file with one label per line."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="Of a network that takes any size: pixels."),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            "--preprocessing",
            metavar="WORD",
            help="Of a network alone: tf, caffe, torch, unit or none, as it was trained.",
        ),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Link to the files instead of copying them.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a model of this name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a model and put it into the models folder: whole, or not at all.

    Examples:
      classyard models add ./ripe

      classyard models add network.keras --name ripe --labels labels.txt --preprocessing unit
    """
    said = Addition(name, labels, _size(size), preprocessing, link, replace)
    _report(add_model(source, said, read_settings()), "added", [], as_json=as_json)


@models_cli.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a model's folder from the models folder (of a link: the link)."""
    settings = read_settings()
    if not yes and interactive():
        typer.confirm(f"delete {settings.models_path / name}?", abort=True)
    folder = remove_model(name, settings)
    if as_json:
        sys.stdout.write(json.dumps({"name": name, "removed": str(folder)}) + "\n")
    else:
        out().print(f"{name}: removed {folder}", soft_wrap=True)


@models_cli.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete prepared networks of replaced models that no unfinished job needs any more."""
    settings = read_settings()
    with open_record(settings) as database:
        found = find_leftovers(database, settings)
    if not dry_run:
        for one in found:
            remove_leftover(one)
    size = sum(one.bytes for one in found)
    if as_json:
        models = [
            {"model": one.model, "fingerprint": one.fingerprint, "bytes": one.bytes}
            for one in found
        ]
        sys.stdout.write(
            json.dumps({"deleted": not dry_run, "bytes": size, "models": models}) + "\n"
        )
        return
    for one in found:
        what = f"{one.model or 'unknown model'} {one.fingerprint}"
        said = what if one.fingerprint else "preparations that broke off"
        out().print(f"{said}: {one.bytes:,} bytes", soft_wrap=True, markup=False)
    word = "could be deleted" if dry_run else "deleted"
    out().print(f"{word}: {size:,} bytes in {settings.home / 'converted'}", soft_wrap=True)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not found:
        raise typer.BadParameter("HEIGHTxWIDTH in pixels, like 160x200", param_hint="--size")
    return int(found[1]), int(found[2])


def _report(spec: ModelSpec, word: str, remarks: list[str], *, as_json: bool) -> None:
    if as_json:
        said = {
            "name": spec.name,
            "state": word,
            "labels": len(spec.labels),
            "kind": spec.kind,
            "fingerprint": spec.fingerprint,
            "folder": str(spec.folder),
            "remarks": remarks,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        return
    out().print(
        f"{spec.name}: {word}, {len(spec.labels)} labels, fingerprint {spec.fingerprint}",
        soft_wrap=True,
    )
    for line in remarks:
        err().print(f"{spec.name}: {line}", soft_wrap=True, markup=False)
