"""Request: what a submission asks for, checked as far as a producer can check it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import UsageError
from core.modelfiles import check_embeddings, check_files
from core.modelspec import read_model
from core.types import Priority, printable
from db.jobs import JobRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.settings import Settings
    from producer.sources import Sources

#: Longest name a job gets from its sources.
NAME_LENGTH: Final = 80


def priority_named(word: str) -> Priority:
    """Return the priority of this name.

    Raises:
        UsageError: if there is none.
    """
    try:
        return Priority[word.upper()]
    except KeyError:
        raise UsageError(f"priority '{word}': there are high, normal and low") from None


def job_request(
    settings: Settings,
    sources: Sources,
    model: str,
    top_k: int,
    roots: Iterable[str | Path] = (),
    options: Mapping[str, Any] | None = None,
) -> JobRequest:
    """Check the model as far as a producer can, and return what to ask for.

    `options` are further choices that the job keeps; those that are None are left out.

    Raises:
        ModelError: if the model is unknown, its files are missing or broken, or it has no
            embeddings to give.
    """
    spec = read_model(model, settings.models_path)
    check_files(spec)
    allowed = [str(path) for path in (*sources.roots, *(Path(root).resolve() for root in roots))]
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    if chosen.get("embeddings"):
        check_embeddings(spec)
    return JobRequest(
        name=printable(sources.description, NAME_LENGTH),
        model=spec.name,
        fingerprint=spec.fingerprint,
        queue=settings.queue,
        top_k=min(top_k, len(spec.labels)),
        options={"roots": allowed, **chosen},
    )
