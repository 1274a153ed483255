"""Quotas: what the operator lets wait. They stop an accident; who may submit may write to SQL anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import ClassyardError, UsageError
from db import queries

if TYPE_CHECKING:
    from core.settings import Settings
    from db.session import Database


def check_backlog(database: Database, settings: Settings) -> None:
    """Refuse a submission while too many images wait.

    Raises:
        ClassyardError: saying how many wait.
    """
    limit = settings.max_waiting
    if limit and (waiting := database.read(queries.waiting_images)) >= limit:
        raise ClassyardError(
            f"{waiting:,} images wait already, and CLASSYARD_MAX_WAITING is {limit:,}: "
            "submit later; 'classyard jobs' shows what waits"
        )


def check_size(images: int, settings: Settings) -> None:
    """Refuse a job that grows too large; `images` is how many it has by now.

    Raises:
        UsageError: saying how many are allowed.
    """
    if 0 < settings.max_images < images:
        raise UsageError(
            f"more than {settings.max_images:,} images (CLASSYARD_MAX_IMAGES): "
            "nothing was submitted; submit them as several jobs"
        )
