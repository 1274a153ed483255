"""What the pages work with, and the one thing they change: a drop becomes a job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.errors import ClassyardError, ModelError
from core.modelfiles import check_files
from core.modelspec import read_model, served_names
from core.prepare import prepared_file
from core.types import Priority
from producer.request import job_request
from producer.sources import open_sources
from producer.submit import submit
from producer.web.shelf import DAY, prune, shelf_of

if TYPE_CHECKING:
    from pathlib import Path

    from anyio import CapacityLimiter

    from core.settings import Settings
    from producer.submit import Desk
    from producer.thumbnails import Thumbnails

#: Labels kept of each dropped picture.
TOP_K: Final = 10
#: Drops that may arrive at the same time.
DROPS: Final = 4
#: The model that is chosen if its weights are here.
USUAL: Final = "mobilenet_v2"


@dataclass(frozen=True, slots=True)
class WebDesk:
    """The desk behind the pages. `thumbnail_room` keeps slow pictures from holding all threads."""

    desk: Desk
    thumbnails: Thumbnails
    thumbnail_room: CapacityLimiter
    drop_room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DROPS))

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.desk.settings

    @property
    def shelf(self) -> Path:
        """The folder of all drops."""
        return shelf_of(self.settings)

    def tidy(self, room: int = 0) -> None:
        """Prune the shelf, so that a drop of `room` bytes fits as well."""
        settings = self.settings
        prune(self.shelf, settings.web_keep_days * DAY, settings.web_keep_bytes - room)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that the page offers; `fault` says why it cannot be used, if so."""

    name: str
    description: str
    fault: str
    chosen: bool


def model_choices(settings: Settings) -> list[ModelChoice]:
    """Return the models that are here, the usual one chosen, else the first that can be used."""
    found = {name: _fault(name, settings) for name in served_names(settings.models_path)}
    usable = [name for name, (_, fault) in found.items() if not fault]
    chosen = USUAL if USUAL in usable else next(iter(usable), "")
    return [
        ModelChoice(name, description, fault, name == chosen)
        for name, (description, fault) in found.items()
    ]


def is_prepared(settings: Settings, model: str) -> bool:
    """Whether workers of this machine can serve a model at once, or have to convert it first."""
    if settings.engine == "stub":
        return True
    try:
        return prepared_file(read_model(model, settings.models_path), settings).exists()
    except ModelError:
        return True  # another machine's model: nobody knows


def _fault(name: str, settings: Settings) -> tuple[str, str]:
    try:
        spec = read_model(name, settings.models_path)
        check_files(spec)
    except ModelError as error:
        return "", str(error)
    return spec.description, ""


def submit_drop(web: WebDesk, model: str, folder: Path, pictures: list[Path]) -> int:
    """Submit received pictures as one job that overtakes bulk jobs; return its id.

    Raises:
        ClassyardError: if the model is unusable, Redis is away, or workers may not read the shelf.
    """
    roots = [root.expanduser().absolute() for root in web.settings.fetch_limits.roots]
    if roots and not any(folder.is_relative_to(root) for root in roots):
        raise ClassyardError(f"workers may not read {web.shelf}: add it to CLASSYARD_ROOTS")
    sources = open_sources([str(picture) for picture in pictures])
    request = job_request(
        web.settings, sources, model, TOP_K, (folder,), {"drop": folder.name}
    ).named(_name(pictures), key=None, priority=Priority.HIGH)
    return submit(web.desk, sources, request).job_id


def _name(pictures: list[Path]) -> str:
    first, more = pictures[0].name, len(pictures) - 1
    return f"{first} and {more} more" if more else first
