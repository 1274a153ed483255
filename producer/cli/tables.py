"""Tables that fit: numbers whole and aligned, names elided in the middle, nothing cut in a pipe."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from core.types import ResultStatus, printable
from db.results import ResultFilter, stream_results
from producer.answers import answer
from producer.cli.options import LONGEST, err, out
from producer.sources import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row

    from db.session import Database
    from producer.diff import Diff
    from producer.score import Score

#: Rows of a table at most: a terminal is not a pager.
TABLE_ROWS: Final = 1000
#: Width of a table that nobody's terminal limits.
UNLIMITED: Final = 100_000
#: Cells between two columns.
GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column; its weight says how much of the room it gets, 0: what it needs (numbers).

    Of a `sentence` the beginning is kept, of a name both ends.
    """

    heading: str
    weight: int = 0
    sentence: bool = False


Cell = str | tuple[str, str]


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows of text, or of (text, style), in the width of the terminal."""
    widths = _widths(columns, rows, shutil.get_terminal_size((UNLIMITED, 0)).columns)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        justify: Any = "left" if column.weight else "right"
        table.add_column(column.heading, justify=justify, no_wrap=True, width=width)
    for row in rows:
        places = zip(row, columns, widths, strict=True)
        table.add_row(*(_text(cell, column, width) for cell, column, width in places))
    out(sum(widths) + GAP * len(widths)).print(table)


def elide(text: str, width: int) -> str:
    """Return `text` in at most `width` cells, its middle left out: both ends of a name tell most."""
    text = printable(text, LONGEST)
    if cell_len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{_head(text, width - 1 - tail)}…{_head(text[::-1], tail)[::-1]}"


def results_table(database: Database, job_id: int, chosen: ResultFilter) -> None:
    """Print results in order of position."""
    limit = min(chosen.limit or TABLE_ROWS, TABLE_ROWS)
    limited = dataclasses.replace(chosen, limit=limit)
    rows = [_result(row) for row in stream_results(database, job_id, limited)]
    if not rows:
        out().print("no result matches" if chosen.chooses else "no results yet")
        return
    if chosen.status == ResultStatus.FAILED:
        columns = [Column("#"), Column("image", 2), Column("error", 2), Column("why", 3, True)]
        rows = [(position, name, code, why) for position, name, code, _, why in rows]
    else:
        columns = [
            Column("#"), Column("image", 3), Column("label", 2), Column("score"),
            Column("next best", 2, True),
        ]  # fmt: skip
    print_table(columns, rows)
    if len(rows) == TABLE_ROWS and chosen.limit != TABLE_ROWS:
        err().print(f"the first {TABLE_ROWS:,}; all of them: classyard export {job_id} -o FILE")


def uncertain_table(rows: Iterable[Row[Any]]) -> None:
    """Print the results that a person should look at, with how uncertain each is."""
    cells = []
    for row in rows:
        said = answer(row)
        first, second = said.predictions[:2]
        cells.append(
            (
                str(said.position), name_of(said.uri), first.label, f"{first.score:.1%}",
                second.label, f"{second.score:.1%}", f"{said.margin:.3f}", f"{said.entropy:.2f}",
            )
        )  # fmt: skip
    if not cells:
        out().print("no result matches that has two labels")
        return
    columns = [
        Column("#"), Column("image", 3), Column("label", 2), Column("score"),
        Column("second", 2), Column("score"), Column("margin"), Column("bits"),
    ]  # fmt: skip
    print_table(columns, cells)


def diff_table(found: Diff, limit: int) -> None:
    """Print two jobs compared."""
    say = partial(out().print, soft_wrap=True)
    agreement = "-" if found.agreement is None else f"{found.agreement:.2%}"
    say(
        f"job {found.job_a} (A) and job {found.job_b} (B): {found.compared:,} images have labels in "
        f"both, {found.same_label:,} of them the same: agreement {agreement}"
    )
    say(
        f"failed only in A {found.failed_a:,}, only in B {found.failed_b:,}, "
        f"in both {found.failed_both:,}; only A has {found.only_a:,}, only B {found.only_b:,}"
    )
    if found.same_label:
        say(
            f"score of the same label, B minus A: mean {found.mean_shift:+.4f}, "
            f"mean size {found.mean_absolute_shift:.4f}, largest {found.largest_shift:+.4f}; "
            f"{found.shifted:,} moved by more than 0.1"
        )
    if not found.label_changes:
        return
    say()
    print_table(
        [Column("images"), Column("label in A", 1), Column("label in B", 1)],
        [(f"{pair.count:,}", pair.a, pair.b) for pair in found.label_changes[:limit]],
    )
    say("\nThe surest disagreements:")
    print_table(
        [
            Column("image", 3), Column("label in A", 2), Column("score"), Column("label in B", 2),
            Column("score"),
        ],
        [
            (
                name_of(change.uri), change.label_a, f"{change.score_a:.1%}", change.label_b,
                f"{change.score_b:.1%}",
            )
            for change in found.changes
        ],
    )  # fmt: skip


def score_table(found: Score, limit: int) -> None:
    """Print a job against the truth: accuracies, the worst classes, the confusions, the bins."""
    say = partial(out().print, soft_wrap=True)
    say(
        f"job {found.job_id} ({found.model}) against column '{found.truth_column}' "
        f"({found.truth_kind})",
        markup=False,
    )
    say(
        f"{found.scored:,} images scored: top-1 {found.top_1:.2%}, "
        f"top-{found.top_k} {found.top_k_accuracy:.2%}, "
        f"calibration error {found.expected_calibration_error:.4f}"
    )
    say(f"not scored: {found.failed:,} failed, {found.without_truth:,} without a truth\n")
    worst = sorted(found.classes, key=lambda c: (c.recall is None, c.recall, -c.support))
    print_table(
        [Column("class", 1), Column("images"), Column("precision"), Column("recall")],
        [
            (c.label, f"{c.support:,}", _share(c.precision), _share(c.recall))
            for c in worst[:limit]
        ],
    )  # fmt: skip
    if len(worst) > limit:
        say(f"… the {limit} of {len(worst)} classes with the lowest recall; --limit")
    if found.confusions:
        say()
        print_table(
            [Column("images"), Column("truth", 1), Column("taken for", 1)],
            [(f"{c.count:,}", c.truth, c.predicted) for c in found.confusions[:limit]],
        )
    say()
    print_table(
        [Column("score"), Column("images"), Column("mean score"), Column("right")],
        [
            (f"{b.low:.2f}-{b.high:.2f}", f"{b.count:,}", _share(b.score), _share(b.accuracy))
            for b in found.bins
            if b.count
        ],
    )


def _result(row: Row[Any]) -> tuple[Cell, ...]:
    name = name_of(row.uri)
    if row.status == ResultStatus.FAILED:
        return str(row.position), name, (row.error_code, "red"), "", row.error or ""
    others = ", ".join(f"{label} {score:.0%}" for _, label, score in (row.predictions or ())[1:4])
    return str(row.position), name, row.label, f"{row.score:.1%}", others


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], terminal: int
) -> list[int]:  # fmt: skip
    """Return each column's width: what it needs, or its share of the room that there is."""
    needed = [
        max([cell_len(column.heading), *(cell_len(_plain(row[at])) for row in rows)])
        for at, column in enumerate(columns)
    ]
    widths = list(needed)
    texts = [at for at, column in enumerate(columns) if column.weight]
    while sum(widths) + GAP * len(widths) > terminal:
        shrinking = [at for at in texts if widths[at] > cell_len(columns[at].heading)]
        if not shrinking:
            break
        widest = max(shrinking, key=lambda at: widths[at] / columns[at].weight)
        widths[widest] -= 1
    return widths


def _plain(cell: Cell) -> str:
    return printable(cell if isinstance(cell, str) else cell[0], LONGEST)


def _text(cell: Cell, column: Column, width: int) -> Text:
    text = _plain(cell)
    if column.sentence and cell_len(text) > width:
        shown = f"{_head(text, width - 1)}…"
    else:
        shown = elide(text, width)
    return Text(shown, style="" if isinstance(cell, str) else cell[1])


def _head(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits in `width` cells."""
    kept = text[:width]
    while cell_len(kept) > width:
        kept = kept[:-1]
    return kept
