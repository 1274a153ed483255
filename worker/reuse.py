"""Answers a child need not compute: what the tables say already is taken from there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from core.types import Classification
from db import reuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.types import Classified
    from db.chunks import Terms
    from db.session import Database
    from worker.models import Classifier


def classify(
    database: Database,
    terms: Terms,
    classifier: Classifier,
    uris: Sequence[str],
    stop: Callable[[], None],
) -> Classification:
    """Classify a chunk's URIs, but not those that another chunk of the job has recorded.

    With `--reuse` neither those whose content the same model has classified in any job.
    """
    known = _by_uri(database, terms, uris) if terms.chunks > 1 else {}
    fresh = [uri for uri in uris if uri not in known] if known else uris
    lookup = Lookup(database, terms) if terms.reuse else None
    done = Classification(())
    if fresh:
        roots = tuple(Path(root) for root in terms.roots)
        done = classifier.classify(fresh, roots, terms.top_k, stop, lookup)
    computed = iter(done.outcomes)
    outcomes = [known[uri] if uri in known else next(computed) for uri in uris]
    reused = len(uris) - len(fresh) + (lookup.found if lookup else 0)
    return Classification(outcomes, done.seconds, reused)


class Lookup:
    """Finds answers by the hash of an image's content, and counts what it found."""

    def __init__(self, database: Database, terms: Terms) -> None:
        self._database = database
        self._terms = terms
        self.found = 0

    def __call__(self, content_hash: str) -> Classified | None:
        """Return the answer that any job's row gives to this content, if there is one."""
        try:
            known = self._database.read(reuse.by_content, self._terms, content_hash)
        except DBAPIError:
            return None  # only a saving: what cannot be looked up is computed
        self.found += known is not None
        return known


def _by_uri(database: Database, terms: Terms, uris: Sequence[str]) -> dict[str, Classified]:
    try:
        return database.read(reuse.by_uri, terms, uris)
    except DBAPIError:
        return {}
