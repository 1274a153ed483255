"""What the scripts share that write tables into documents."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def between(page: str, begin: str, end: str, text: str) -> str:
    """Return the page with `text` in place of what stands between two marks."""
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{text}{end}{after}"


def write(path: Path, renewed: Callable[[str], str], description: str | None) -> None:
    """Write the page as it must be now; with `--check` only complain if it is not so yet."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args().check
    page = path.read_text("utf-8")
    wanted = renewed(page)
    if page == wanted:
        return
    if check:
        raise SystemExit(f"{path.name} is stale: run python {sys.argv[0]}")
    path.write_text(wanted, "utf-8")
