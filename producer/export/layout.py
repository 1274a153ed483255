"""Layout: which columns an export has, decided before the first row is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from db import embeddings, queries, results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Row

    from db.session import Database

#: Columns that every flat export begins with.
COLUMNS: Final = (
    "position", "uri", "status", "class_index", "label", "score", "error_code", "error", "width",
    "height", "content_hash", "model", "worker", "attempts",
    "classified_at",
)  # fmt: skip
#: The last column: what has no column of its own, as JSON.
REST: Final = "extra"
#: The column of a Parquet file that holds embeddings.
EMBEDDING: Final = "embedding"
#: Further columns that get a column of their own, at most.
MOST_EXTRAS: Final = 100


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a flat export: ours, the further labels, the caller's, the rest.

    `extras` are the caller's names, `columns` what they are called in the file: the same, unless
    a column of ours has that name.
    """

    top_k: int
    extras: tuple[str, ...]
    columns: tuple[str, ...]
    #: Looks up the embeddings of some positions, for jobs that have them.
    vectors: Callable[[Sequence[int]], Mapping[int, bytes]] | None = None

    @property
    def titles(self) -> list[str]:
        """The header of a CSV file."""
        return [*COLUMNS, *_ranked(self.top_k), *self.columns, REST]

    def flat(self, row: Row[Any]) -> Iterator[Any]:
        """Yield the cells of a CSV row."""
        for name in COLUMNS[:-1]:
            yield getattr(row, name)
        yield row.classified_at.isoformat()
        further = (row.predictions or ())[1 : self.top_k]
        for _, label, score in further:
            yield label
            yield score
        for _ in range(2 * (self.top_k - 1 - len(further))):
            yield ""
        yield from self.extra_texts(row)

    def extra_texts(self, row: Row[Any]) -> list[str | None]:
        """Return the caller's values as text, then the rest of them as one JSON object."""
        left = dict(row.extra or {})
        texts = [as_text(left.pop(name, None)) for name in self.extras]
        return [*texts, as_text(left) if left else None]


def read_layout(database: Database, job_id: int) -> Layout:
    """Return the layout of a job's exports.

    The caller's columns are those of the job's first rows: a stream cannot know the later ones.
    """
    top_k = database.read(queries.top_k, job_id)
    names = database.read(results.extra_names, job_id)[:MOST_EXTRAS]
    taken = {*COLUMNS, *_ranked(top_k), REST, "predictions", EMBEDDING}
    columns = tuple(_own_titles(names, taken))
    if not database.read(queries.options, job_id).get("embeddings"):
        return Layout(top_k, tuple(names), columns)
    return Layout(
        top_k,
        tuple(names),
        columns,
        lambda positions: database.read(embeddings.vectors, job_id, positions),
    )


def as_record(row: Row[Any]) -> dict[str, Any]:
    """Return a result as nested values, its top-k as a list of objects."""
    record = {name: getattr(row, name) for name in COLUMNS[:-1]}
    record["classified_at"] = row.classified_at.isoformat()
    record["predictions"] = [
        {"rank": rank, "class_index": index, "label": label, "score": float(score)}
        for rank, (index, label, score) in enumerate(row.predictions or (), 1)
    ]
    record["extra"] = row.extra
    return record


def as_text(value: Any) -> str | None:
    """Return text as it is, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _ranked(top_k: int) -> list[str]:
    return [f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("label", "score")]


def _own_titles(names: Sequence[str], taken: set[str]) -> Iterator[str]:
    """Yield a title for each name, no title twice."""
    taken = set(taken)
    for name in names:
        title = name
        while title in taken:
            title = f"extra.{title}"
        taken.add(title)
        yield title
