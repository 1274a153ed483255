"""Judge: whether a row agrees with the truth, where the truth is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from producer.truth import Truth


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares rows with a column of the truth; `labels` are those of the model."""

    truth: Truth
    labels: Sequence[str]

    def wrong(self, row: Row[Any]) -> bool:
        """Whether an image got another class than the true one; false if nobody knows."""
        expected = self._expected(row)
        return expected is not None and self.truth.canonical[row.class_index] != expected

    def expected(self, row: Row[Any]) -> str | None:
        """Return the true label of an image, None if nobody knows it."""
        expected = self._expected(row)
        return None if expected is None else self.labels[expected]

    def _expected(self, row: Row[Any]) -> int | None:
        value = (row.extra or {}).get(self.truth.column)
        if value is None:
            return None
        # As SQL reads it: what is no text is compared as its JSON.
        return self.truth.classes.get(value if isinstance(value, str) else json.dumps(value))
