"""No file grows past reading, nothing is left for later, and nothing about somebody's machine is in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
#: A test file is a list: it may be somewhat longer than what must be understood as a whole.
MOST_LINES, MOST_TEST_LINES = 250, 300
#: Files that may be longer, and why.
LONGER = {
    "core/settings.py": "a line per setting, and the checks across them",
    "db/chunks.py": "the three verbs on a chunk and the types they share: apart they hide the fence",
    "db/models.py": "every table",
    "producer/cli/show.py": "everything a person sees of a job, in one place",
    "tests/integration/test_fetch_http.py": "one server, every way it can misbehave",
    "tests/integration/test_results.py": "every filter and every format on the same rows",
    "tests/integration/test_steering.py": "every verb of the desk against every state of a job",
    "tests/integration/strange_networks.py": "one network of every kind, served by every engine",
    "tests/support/kinds.py": "one picture of every kind, in the order of docs/pictures.md",
    "tests/unit/test_fetch_local.py": "one folder, every way a path can lead out of it",
    "tests/unit/test_pipeline.py": "one pipeline, every order in which its stages can end",
}
#: Words that mean: not finished. Split, so that this line is none of them.
LATER = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_files_are_short_or_have_a_reason() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py")
        if (lines := path.read_text("utf-8").count("\n"))
        > (MOST_TEST_LINES if "tests" in path.parts else MOST_LINES)
    }
    unexplained = {name: lines for name, lines in long.items() if name not in LONGER}
    assert unexplained == {}, "split them, or say in LONGER why they are one"


def test_migrations_are_one_line() -> None:
    """Two that were made side by side would leave the tables of one of them out."""
    folder = ROOT / "db" / "migrations" / "versions"
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("[0-9]*.py"))]
    names = [re.findall(r'^revision = "(\d+)"$', text, re.MULTILINE) for text in texts]
    befores = [
        re.findall(r'^down_revision = (?:"(\d+)"|None)$', text, re.MULTILINE) for text in texts
    ]
    assert [[name] for name in (f"{n:04}" for n in range(1, len(texts) + 1))] == names
    assert befores == [[""], *names[:-1]]


def test_reasons_are_for_files_that_exist() -> None:
    assert [name for name in LONGER if not (ROOT / name).is_file()] == []


def test_nothing_is_left_for_later_and_no_machine_is_named() -> None:
    pages = tracked("*.py", "*.md", "*.toml", "*.txt", "Makefile")
    for path in pages:
        content = path.read_text("utf-8")
        if path.parent.name != "locks":
            assert not LATER.search(content), path
        assert not re.search(r"/(work|home|Users)/(?!user\b|you\b)\w", content), path


def test_locks_name_no_index() -> None:
    for path in tracked("locks/*.txt"):
        assert not re.search(r"://|--(extra-)?index|--find-links", path.read_text("utf-8")), path
