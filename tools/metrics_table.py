"""Write the tables of metrics into docs/metrics.md; `--check` only says whether they are stale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pages import between, write

from core.metrics import WORKER_METRICS, YARD_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.metrics import Metric

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
TABLES = {"worker": WORKER_METRICS, "yard": YARD_METRICS}


def table(metrics: Iterable[Metric]) -> str:
    """Return a Markdown table, one row per metric, by the name one queries."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        name = metric.series[0] if metric.kind == "counter" else metric.name
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join([*lines, ""])


def with_tables(page: str) -> str:
    """Return the page with the tables as they must be now."""
    for name, metrics in TABLES.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        page = between(page, begin, end, table(metrics))
    return page


if __name__ == "__main__":
    write(PAGE, with_tables, __doc__)
