"""Run every benchmark, one after the other, and write the table into docs/benchmarks.md.

    python -m benchmarks.all            all rows: up to 90 minutes, on a quiet machine
    python -m benchmarks.all --only submit overhead
    python -m benchmarks.all --quick    do all scripts still run? No verdict, nothing written

Rows that were not run keep what the table says of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Figure, number, say

#: Seconds that a script may take.
LIMIT = 300
DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: python -m benchmarks.all -->", "<!-- end of table -->"

SCRIPTS = (
    ("end_to_end",),
    ("end_to_end", "--database", "postgresql"),
    ("against_keras", "--how", "tfdata", "--model", "mobilenet_v2"),
    ("against_keras", "--how", "tfdata", "--model", "resnet50"),
    ("against_keras", "--how", "tfdata", "--model", "resnet50", "--engine", "litert"),
    ("against_ray",),
    ("against_keras", "--how", "single", "--model", "mobilenet_v2"),
    ("against_celery",),
    ("overhead", "--database", "sqlite"),
    ("overhead", "--database", "postgresql"),
    ("million", "--database", "sqlite"),
    ("million", "--database", "postgresql"),
    ("submit", "--database", "sqlite"),
    ("submit", "--database", "postgresql"),
    ("startup",),
    ("http_latency",),
    ("s3_latency",),
    ("draft",),
    ("scaling",),
    ("memory",),
    ("fairness",),
    ("export",),
    ("sizes",),
    ("fleet",),
    ("report",),
    ("webpage", "--database", "sqlite"),
    ("webpage", "--database", "postgresql"),
)


def main() -> None:
    """Run what was asked for; end with 1 if a row falls short or a script fails."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--quick", action="store_true", help="only see that every script runs")
    made.add_argument("--only", nargs="+", metavar="SCRIPT", help="these scripts")
    options = made.parse_args()
    chosen = [script for script in SCRIPTS if not options.only or script[0] in options.only]
    figures: list[Figure] = []
    failed = []
    for script in chosen:
        found, status = _run(script, quick=options.quick)
        figures += found
        if status not in {0, 1} or not found:
            failed.append(" ".join(script))
    if figures and not options.quick:
        _write(figures)
    for name in failed:
        print(f"FAILED: {name}")
    short = [] if options.quick else [figure for figure in figures if not figure.met]
    print(f"{len(figures)} figures, {len(short)} short, {len(failed)} scripts failed")
    sys.exit(1 if short or failed else 0)


def _run(script: tuple[str, ...], *, quick: bool) -> tuple[list[Figure], int]:
    """Run one script; return its figures and its status (124: it took too long)."""
    say(" ".join(script))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "figures.jsonl"
        command = [sys.executable, "-m", f"benchmarks.{script[0]}", *script[1:]]
        command += ["--json", str(answers), *(("--quick",) if quick else ())]
        try:
            status = subprocess.run(command, check=False, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            status = 124
        lines = answers.read_text().splitlines() if answers.exists() else []
    say(f"status {status}, {time.monotonic() - started:.0f} s")
    return [Figure(**json.loads(line)) for line in lines], status


def _write(figures: list[Figure]) -> None:
    """Replace the rows of these figures in the document."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {row.split(" | ")[0]: row for row in re.findall(r"^\| .*$", old, re.MULTILINE)[1:]}
    for figure in figures:
        row = _row(figure)
        rows[row.split(" | ")[0]] = row
    table = "\n".join([
        "", "", "| what | target | measured | n and spread | absolute, notes | machine, date |",
        "|---|---|---|---|---|---|", *rows.values(), "", "",
    ])  # fmt: skip
    DOCUMENT.write_text(before + BEGIN + table + END + after)


def _row(figure: Figure) -> str:
    bound = "at least" if figure.more_is_better else "at most"
    unit = f" {figure.unit}" if figure.unit else ""
    measured = f"{number(figure.value)}{unit}"
    verdict = f"**{measured}**" if figure.met else f"{measured} (short)"
    machine = f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {datetime.now(UTC).date()}"
    cells = (
        figure.what, f"{bound} {number(figure.target)}{unit}", verdict, figure.spread, figure.note,
        machine,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


if __name__ == "__main__":
    main()
