"""Answers: what a result says, as a value; how sure it is; the least sure of a job."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.types import Prediction, ResultStatus
from db import results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from db.results import ResultFilter
    from db.session import Database


@dataclass(frozen=True, slots=True)
class ImageResult:
    """How one image ended: labels, best first, or an error code."""

    job_id: int
    position: int
    uri: str
    status: ResultStatus
    predictions: tuple[Prediction, ...]
    error_code: str | None
    error: str | None
    width: int | None
    height: int | None
    content_hash: str | None
    extra: Mapping[str, Any]
    model: str
    worker: str | None
    attempts: int
    classified_at: datetime

    @property
    def label(self) -> str | None:
        """The best label, None if the image failed."""
        return self.predictions[0].label if self.predictions else None

    @property
    def class_index(self) -> int | None:
        """The class index of the best label, None if the image failed."""
        return self.predictions[0].class_index if self.predictions else None

    @property
    def score(self) -> float | None:
        """The score of the best label, None if the image failed."""
        return self.predictions[0].score if self.predictions else None

    @property
    def margin(self) -> float | None:
        """How far the best score is above the second best; None if there is no second."""
        if len(self.predictions) < 2:
            return None
        return self.predictions[0].score - self.predictions[1].score

    @property
    def entropy(self) -> float | None:
        """Bits of doubt: the entropy of the kept scores, all others taken as one; None if failed."""
        if not self.predictions:
            return None
        scores = [prediction.score for prediction in self.predictions]
        shares = [*scores, 1 - sum(scores)]
        return -sum(share * math.log2(share) for share in shares if share > 0)


def answer(row: Row[Any]) -> ImageResult:
    """Return a row of `results` as a value."""
    return ImageResult(
        job_id=row.job_id,
        position=row.position,
        uri=row.uri,
        status=ResultStatus(row.status),
        predictions=tuple(
            Prediction(index, label, float(score)) for index, label, score in row.predictions or ()
        ),
        error_code=row.error_code,
        error=row.error,
        width=row.width,
        height=row.height,
        content_hash=row.content_hash,
        extra=row.extra or {},
        model=row.model,
        worker=row.worker,
        attempts=row.attempts,
        classified_at=row.classified_at,
    )


def uncertain(
    database: Database, job_id: int, chosen: ResultFilter, limit: int
) -> Sequence[Row[Any]]:
    """Return the rows a person should look at: lowest margin first, then highest entropy."""
    rows = database.read(results.uncertain_results, job_id, chosen, limit)

    def doubt(row: Row[Any]) -> tuple[float, float, int]:
        said = answer(row)
        return said.margin or 0.0, -(said.entropy or 0.0), said.position

    return sorted(rows, key=doubt)
