"""The desk: submit, watch, query, and the command line. Its names are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.errors import ClassyardError, NoSuchJobError, WaitTimeoutError
    from core.types import JobStatus, Prediction, ResultStatus
    from db.queries import Progress
    from db.results import ResultFilter
    from producer.answers import ImageResult
    from producer.api import Yard, open_yard
    from producer.diff import Diff
    from producer.score import Score
    from producer.submit import Submission

__all__ = [
    "ClassyardError", "Diff", "ImageResult", "JobStatus", "NoSuchJobError", "Prediction",
    "Progress", "ResultFilter", "ResultStatus", "Score", "Submission", "WaitTimeoutError", "Yard",
    "open_yard",
]  # fmt: skip

_HOMES = {
    "core.errors": ("ClassyardError", "NoSuchJobError", "WaitTimeoutError"),
    "core.types": ("JobStatus", "Prediction", "ResultStatus"),
    "db.queries": ("Progress",),
    "db.results": ("ResultFilter",),
    "producer.answers": ("ImageResult",),
    "producer.api": ("Yard", "open_yard"),
    "producer.diff": ("Diff",),
    "producer.score": ("Score",),
    "producer.submit": ("Submission",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'producer' has no attribute '{name}'")
