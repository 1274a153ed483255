"""All commands, in the order the help lists them, and where each lives."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from typer.core import TyperGroup

from producer.cli.options import out

if TYPE_CHECKING:
    from typer._click.core import Command, Context  # typer brings its own click

LOCAL: Final = "On this machine"
DESK: Final = "Jobs"
RESULTS: Final = "Results"
SERVICE: Final = "Services"


class Place(NamedTuple):
    """A command's panel in the help, its module in this folder, and its name there if it differs."""

    panel: str
    module: str
    called: str = ""


COMMANDS: Final = {
    "demo": Place(LOCAL, "local"),
    "run": Place(LOCAL, "local"),
    "up": Place(LOCAL, "up"),
    "submit": Place(DESK, "desk"),
    "watch": Place(DESK, "watch"),
    "jobs": Place(DESK, "jobs", "list_jobs"),
    "status": Place(DESK, "jobs"),
    "cancel": Place(DESK, "steer"),
    "pause": Place(DESK, "steer"),
    "resume": Place(DESK, "steer"),
    "retry": Place(DESK, "steer"),
    "results": Place(RESULTS, "results"),
    "export": Place(RESULTS, "results"),
    "report": Place(RESULTS, "report"),
    "diff": Place(RESULTS, "compare"),
    "score": Place(RESULTS, "compare"),
    "prune": Place(RESULTS, "prune"),
    "worker": Place(SERVICE, "service"),
    "flower": Place(SERVICE, "service"),
    "metrics": Place(SERVICE, "service"),
    "web": Place(SERVICE, "web"),
    "migrate": Place(SERVICE, "service"),
    "sweep": Place(SERVICE, "service"),
    "doctor": Place(SERVICE, "service"),
    "models": Place(SERVICE, "models", "models_cli"),
}


class Commands(TyperGroup):
    """Imports a command when it is asked for: `results` need not load what `web` needs."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a command, None if there is no such one."""
        place = COMMANDS.get(cmd_name)
        return None if place is None else _load(cmd_name, place)

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Find the command that is meant; a wrong name is answered with the likely ones."""
        # typer looks for likely names here.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]
        return super().resolve_command(ctx, args)


def _load(name: str, place: Place) -> Command:
    found = getattr(import_module(f"producer.cli.{place.module}"), place.called or name)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name, group.rich_help_panel = name, place.panel
        return group
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name, rich_help_panel=place.panel)(found)
    return typer.main.get_command(alone)


cli = typer.Typer(
    name="classyard",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        out().print(f"classyard {version('classyard')}")
        raise typer.Exit


@cli.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Bulk image classification: from a folder of pictures to a SQL table, one row per picture."""
