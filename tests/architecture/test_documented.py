"""Whatever a user can type, set or read in a row is explained: in the help and in the documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperOption

from core.errors import Code
from core.settings import Settings
from producer.cli.commands import COMMANDS as NAMES
from producer.cli.commands import cli

ROOT = Path(__file__).parent.parent.parent
CONTEXT = typer.Context(typer.main.get_command(cli))
COMMANDS = {name: CONTEXT.command.get_command(CONTEXT, name) for name in NAMES}


def text(*pages: str) -> str:
    return "\n".join((ROOT / page).read_text("utf-8") for page in pages)


def row_of(page: str, name: str) -> str:
    """Return the line of a table that begins with a name in code quotes."""
    found = re.search(rf"^\| *`(?:CLASSYARD_)?{re.escape(name)}`.*$", page, re.MULTILINE)
    assert found, f"{name} has no row"
    return found[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_options_have_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, TyperOption):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"classyard {name}\b", text("README.md"))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_in_its_table_with_its_default(name: str) -> None:
    assert Settings.model_fields[name].description
    row = row_of(text("docs/settings.md"), name.upper())
    default = Settings.model_fields[name].get_default()
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default:
        assert f"{default:g}" if isinstance(default, float) else str(default) in row, row


@pytest.mark.parametrize("code", Code)
def test_an_error_code_is_explained(code: Code) -> None:
    row = row_of(text("docs/errors.md"), code)
    assert len(row.split("|")) >= 4, row
