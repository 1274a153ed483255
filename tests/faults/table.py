"""`python -m tests.faults.table BOOK DOCUMENT`: writes the book of a run as a table in a document."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from broker.embedded import _server_binary

BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def main() -> None:
    book, document = map(Path, sys.argv[1:])
    entries = [json.loads(line) for line in book.read_text().splitlines()]
    text = document.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    document.write_text(f"{head}{BEGIN}\n{table(entries)}\n{END}{tail}")


def table(entries: list[dict[str, Any]]) -> str:
    lines = [
        "| fault | what was done | database | n | images | lost | duplicate rows |"
        " extra claims | recovery p50 / max, s | seed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [row(entry) for entry in sorted(entries, key=order)]
    packages = ("celery", "kombu", "redis", "SQLAlchemy", "psycopg")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    server = subprocess.run(
        [_server_binary(), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    lines += ["", f"Python {platform.python_version()}, {versions}, Redis {server[2:]}."]
    return "\n".join(lines)


def order(entry: dict[str, Any]) -> tuple[int, str, str, str]:
    digits = "".join(c for c in entry["fault"].split()[0] if c.isdigit())
    return (int(digits) if digits else 99, entry["fault"], entry["note"], entry["database"])


def row(entry: dict[str, Any]) -> str:
    took = entry["recoveries"]
    recovery = f"{statistics.median(took):.1f} / {max(took):.1f}" if took else "-"
    share = f"{100 * entry['extra'] / entry['chunks']:.1f} %" if entry["chunks"] else "-"
    return (
        f"| {entry['fault']} | {entry['note']} | {NAMES[entry['database']]} | {entry['n']} |"
        f" {entry['submitted']:,} | {entry['lost']} | {entry['duplicates']} |"
        f" {entry['extra']} ({share}) | {recovery} | {entry['seed']} |"
    )


if __name__ == "__main__":
    main()
