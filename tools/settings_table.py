"""Write the table of settings into docs/settings.md; `--check` only says whether it is stale.

The names, defaults and meanings come from `core.settings`, the headings from its comments.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pages import between, write

from core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->"
#: Defaults that depend on the machine, as words.
WORDS = {"home": "`~/.local/share/classyard` (Linux)"}


def table() -> str:
    """Return every setting as Markdown, one table per group, in the order of the class."""
    lines: list[str] = []
    for heading, name in groups():
        if heading:
            lines += ["", f"## {heading}", "", "| setting | default | meaning |", "|---|---|---|"]
        meaning = (Settings.model_fields[name].description or "").replace("|", "\\|")
        lines.append(f"| `CLASSYARD_{name.upper()}` | {default(name)} | {meaning} |")
    return "\n".join([*lines, "", ""])


def groups() -> Iterator[tuple[str, str]]:
    """Yield each setting's name; with the first of a group its heading, else nothing."""
    heading = ""
    for line in inspect.getsource(Settings).splitlines():
        if comment := re.fullmatch(r"    # (\w[^:]*).*", line):
            heading = comment[1]
        field = re.match(r"    (\w+): ", line)
        if field and field[1] in Settings.model_fields:
            yield heading, field[1]
            heading = ""


def default(name: str) -> str:
    """Return a default as one would write it into the environment."""
    if name in WORDS:
        return WORDS[name]
    value: Any = Settings.model_fields[name].default
    if value is None or value in ("", ()):
        return "empty"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    return f"`{','.join(value) if isinstance(value, tuple) else value}`"


def with_table(page: str) -> str:
    """Return the page with the table as it must be now."""
    return between(page, BEGIN, END, table())


if __name__ == "__main__":
    write(PAGE, with_table, __doc__)
