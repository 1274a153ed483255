"""What the documents promise is there: links, commands, make targets, blocks of code."""

from __future__ import annotations

import re
import shlex
import sqlite3
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from core.settings import Settings
from db.migrate import migrate
from db.session import open_database
from producer.cli.commands import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELLS = {"sh", "bash", "console"}
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
OPERATORS = set("|&;()<>")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = FENCE.findall(page.read_text("utf-8"))
    return [Block((info.split() or [""])[0], text) for _, info, text in found]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, without assignments, redirections and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for token in lexer:
        if set(token) <= OPERATORS:
            redirected = bool(set(token) & set("<>"))
            if not redirected:
                yield words
                words = []
        elif redirected:
            redirected = False
        elif words or not re.match(r"[A-Z_]+=", token):
            words.append(token)
    yield words


def shell_commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page):
        if block.language in SHELLS:
            for line in block.text.replace("\\\n", " ").splitlines():
                for words in simple_commands(line.removeprefix("$ ")):
                    if words:
                        yield words


def resolve(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that `words` (after `classyard`) name, and its arguments."""
    command: Any = get_command(cli)
    rest = list(words)
    while rest and isinstance(command, TyperGroup):
        found = command.get_command(typer.Context(command), rest[0])
        if found is None:
            break
        command = found
        del rest[0]
    return command, rest


@each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else (page.parent / path).resolve()
        assert file.is_relative_to(ROOT), target
        assert file.exists(), f"{page.name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: no heading for {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_command_line_parses(page: Path) -> None:
    for words in shell_commands(page):
        if words[0] != "classyard":
            continue
        command, rest = resolve(words[1:])
        if rest in (["--help"], ["-h"]):
            continue
        assert not isinstance(command, TyperGroup), f"no such command: {' '.join(words)}"
        # A placeholder such as JOB or $job stands for a number or a name.
        given = ["1" if re.fullmatch(r"[A-Z]{2,}|\$\w+", word) else word for word in rest]
        try:
            command.make_context(words[1], given)
        except Exception as error:
            raise AssertionError(f"{page.name}: {' '.join(words)}: {error}") from error


@each_page
def test_commands_named_in_the_text_exist_with_their_options(page: Path) -> None:
    # Code of other languages may hold anything; lines of text beside a command are no arguments.
    texts = re.findall(r"`[^`\n]*\bclassyard ([a-z][^`\n]*)`", prose(page))
    for text in texts:
        command, rest = resolve(text.replace("\\|", "|").split("|")[0].split())
        group = isinstance(command, TyperGroup) and not command.invoke_without_command
        assert not group, f"{page.name}: no command 'classyard {text}'"
        known = {opt for parameter in command.params for opt in parameter.opts}
        for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", " ".join(rest)):
            assert option in known | {"--help", "-h"}, f"{page.name}: {option} in '{text}'"


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([a-z]+)`", prose(page))
    typed = [words[1] for words in shell_commands(page) if words[0] == "make"]
    assert set(named + typed) <= targets


@each_page
def test_every_variable_of_ours_exists(page: Path) -> None:
    ours = {f"CLASSYARD_{name.upper()}" for name in Settings.model_fields}
    tests = {"CLASSYARD_TEST_REDIS_URL", "CLASSYARD_TEST_DATABASE_URL", "CLASSYARD_TEST_AZURITE"}
    named = set(re.findall(r"\bCLASSYARD_[A-Z]+(?:_[A-Z]+)*\b", page.read_text("utf-8")))
    assert named <= ours | tests


@each_page
def test_blocks_of_code_are_what_they_say(page: Path) -> None:
    for block in blocks(page):
        match block.language:
            case "python":
                compile(block.text, page.name, "exec")
            case "toml":
                tomllib.loads(block.text)


def test_the_readmes_sql_fits_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "classyard.db"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    statements = [
        statement
        for block in blocks(ROOT / "README.md")
        if block.language == "sql"
        for statement in filter(str.strip, block.text.split(";"))
    ]
    assert len(statements) >= 3
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_the_readmes_python_reads_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ".local" / "share" / "classyard"
    monkeypatch.setenv("HOME", str(tmp_path))
    path = home / "classyard.db"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO results (job_id, position, chunk_id, uri, status, label, score, model, "
            "classified_at) VALUES (1, 0, 1, 'file:///x.jpg', 'ok', 'tench', 0.9, 'm', '2024')"
        )
    (example,) = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    exec(compile(example.text, "README.md", "exec"), {})
    assert "tench" in capsys.readouterr().out


def test_the_readme_lists_every_command() -> None:
    listed = set(re.findall(r"^\| `classyard ([a-z]+)", prose(ROOT / "README.md"), re.MULTILINE))
    assert listed == set(COMMANDS)


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in PAGES[2:]:
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
