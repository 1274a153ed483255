"""Truth: a further column read as the class of each image: a label, a wnid or a class index."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from core.errors import ClassyardError, ModelError, UsageError
from core.types import printable
from db import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.modelspec import ModelSpec
    from db.session import Database

#: Values named in the error.
SHOWN = 5


class TruthKind(StrEnum):
    """How a column names the class."""

    LABEL = "label"
    WNID = "wnid"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class Truth:
    """A column of the truth, matched to a model's classes.

    `classes` maps each value to a class index. Where labels are compared and two classes share one
    (ImageNet has two cranes), `canonical` makes them one class: the label cannot tell them apart.
    """

    column: str
    kind: TruthKind
    classes: dict[str, int]
    canonical: Sequence[int]


def read_truth(database: Database, job_id: int, column: str, spec: ModelSpec) -> Truth:
    """Match the values of a job's column to the classes of its model.

    Raises:
        UsageError: if no row of the job has the column.
        ClassyardError: naming values that are no class of the model.
    """
    # No column of classes has more values than there are classes, spaces around them aside.
    most = 3 * len(spec.labels) + 1000
    values = [v for v, _ in database.read(results.truth_counts, job_id, column, most)]
    if not values:
        names = ", ".join(database.read(results.extra_names, job_id)) or "none"
        raise UsageError(
            f"no result of job {job_id} has a column '{column}'; its columns: {printable(names)}"
        )
    best: tuple[int, list[str]] | None = None
    for kind, classes in _readings(spec):
        unknown = [value for value in values if value.strip() not in classes]
        if not unknown:
            found = {value: classes[value.strip()] for value in values}
            return Truth(column, kind, found, _canonical(spec.labels, kind))
        if best is None or len(unknown) < best[0]:
            best = (len(unknown), unknown)
    assert best is not None
    raise _unmatched(column, spec.name, len(values), best[1])


def _readings(spec: ModelSpec) -> Iterable[tuple[TruthKind, dict[str, int]]]:
    """Yield each way to read a value, the first that fits all values wins."""
    # Reversed, so that of two classes with one label the first stands for both.
    yield TruthKind.LABEL, {spec.labels[i]: i for i in reversed(range(len(spec.labels)))}
    if wnids := _wnids(spec):
        yield TruthKind.WNID, {wnid: index for index, wnid in enumerate(wnids)}
    yield TruthKind.INDEX, {str(index): index for index in range(len(spec.labels))}


def _wnids(spec: ModelSpec) -> Sequence[str]:
    """Return the model's WordNet ids: a file `wnids.txt` beside its labels, in their order."""
    path = spec.labels_file.with_name("wnids.txt")
    try:
        wnids = path.read_text("utf-8").split()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: {error}") from error
    if len(wnids) != len(spec.labels):
        raise ModelError(f"{path}: {len(wnids)} wnids for {len(spec.labels)} labels")
    return wnids


def _canonical(labels: Sequence[str], kind: TruthKind) -> Sequence[int]:
    if kind != TruthKind.LABEL:
        return range(len(labels))
    first: dict[str, int] = {}
    return [first.setdefault(label, index) for index, label in enumerate(labels)]


def _unmatched(column: str, model: str, number: int, unknown: Sequence[str]) -> ClassyardError:
    named = ", ".join(f"'{printable(value, 40)}'" for value in unknown[:SHOWN])
    more = ", …" if len(unknown) > SHOWN else ""
    return ClassyardError(
        f"the column '{column}' does not name classes of {model}: {len(unknown)} of its {number} "
        f"values are no label, wnid or class index: {named}{more}"
    )
