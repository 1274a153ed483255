"""Leftovers: prepared networks that neither a model nor an unfinished job needs any more.

They pile up in `HOME/converted` as models are replaced. A worker that has one mapped keeps it until
it lets go of the model: the name goes, not the file.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.kept import kept_members, kept_name
from core.modelspec import read_model, served_names
from core.prepare import CONVERTER, PREPARE_TIMEOUT
from db import queries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.settings import Settings
    from db.session import Database

#: `FINGERPRINT-CONVERTER[-embedding].…`, or `FINGERPRINT.ensemble.json`.
_PREPARED: Final = re.compile(r"([0-9a-f]{32})(?:-(\d+)(?:-embedding)?)?\.")
#: What a preparation under way has open: nobody's only once that cannot be.
_UNDER_WAY: Final = re.compile(r"draft-|.*\.lock$")


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left of one model, or (without a fingerprint) of preparations that broke off."""

    model: str
    fingerprint: str
    paths: tuple[Path, ...]
    bytes: int


def find_leftovers(database: Database, settings: Settings) -> list[Leftover]:
    """Return what nothing needs: no model that is here, and no job that has not ended.

    Raises:
        ModelError: if a model cannot be read, so that nobody knows what it needs.
    """
    folder = settings.home / "converted"
    # Listed first: what is prepared from now on is not even seen.
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    needed = set(_of_models(settings)) | set(_of_jobs(database, settings))
    groups: dict[str, list[Path]] = {}
    for path in there:
        found = _PREPARED.match(path.name)
        if _UNDER_WAY.match(path.name):
            if time.time() - path.lstat().st_mtime > 2 * PREPARE_TIMEOUT:
                groups.setdefault("", []).append(path)
        elif found and (found[1] not in needed or int(found[2] or CONVERTER) != CONVERTER):
            groups.setdefault(found[1], []).append(path)
    return [_leftover(fingerprint, paths) for fingerprint, paths in groups.items()]


def remove_leftover(leftover: Leftover) -> None:
    """Delete what was found; what is gone already is no error.

    Raises:
        OSError: if something cannot be deleted.
    """
    for path in leftover.paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _of_models(settings: Settings) -> Iterator[str]:
    for name in served_names(settings.models_path):
        spec = read_model(name, settings.models_path)
        for one in (spec, *spec.members):
            if all(part.weights.exists() for part in (one, *one.members)):
                yield one.fingerprint


def _of_jobs(database: Database, settings: Settings) -> Iterator[str]:
    for fingerprint in database.read(queries.unfinished_fingerprints):
        yield fingerprint
        yield from kept_members(fingerprint, settings)


def _leftover(fingerprint: str, paths: list[Path]) -> Leftover:
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    model = next((name for path in paths if (name := kept_name(path))), "")
    return Leftover(model, fingerprint, tuple(paths), sum(file.stat().st_size for file in files))
