"""Pictures: the images a report shows, each with its best labels and, if there is one, a thumbnail."""

from __future__ import annotations

import time
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from producer.answers import answer
from producer.report.shown import link, shown
from producer.sources import name_of
from producer.thumbnails import NoThumbnail, Thumbnail, Thumbnails, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Row

    from core.settings import Settings
    from core.types import Prediction

#: Longer side of a thumbnail: sharp at 160 points on a fine screen.
SIDE: Final = 240
#: Thumbnails asked for at once; seconds for one, and for all of a page.
AT_ONCE: Final = 16
EACH_SECONDS: Final = 20.0
ALL_SECONDS: Final = 90.0
#: Labels shown beside a picture.
BARS: Final = 5


@dataclass(frozen=True, slots=True)
class Album:
    """Thumbnails by URI, and how many there are not, by reason."""

    thumbnails: Mapping[str, Thumbnail]
    missing: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a page shows it. `source` is a data URI, empty without a thumbnail."""

    name: str
    shown: str
    link: str
    source: str
    tiny: bool
    position: int | None = None
    bars: Sequence[Prediction] = ()
    margin: float | None = None
    truth: str | None = None


def make_album(settings: Settings, wanted: Iterable[Wanted]) -> Album:
    """Make the thumbnails of a page."""
    asked = list({one.uri: one for one in wanted}.values())
    if not asked:
        return Album({}, {})
    deadline = time.monotonic() + ALL_SECONDS
    made: dict[str, Thumbnail] = {}
    missing: Counter[str] = Counter()
    with Thumbnails(settings) as thumbnails, ThreadPoolExecutor(AT_ONCE) as threads:

        def make(one: Wanted) -> Thumbnail | NoThumbnail:
            left = min(EACH_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return NoThumbnail("timeout", "the time for all thumbnails is over")
            return thumbnails.make(one, left)

        for one, found in zip(asked, threads.map(make, asked), strict=True):
            if isinstance(found, Thumbnail):
                made[one.uri] = found
            else:
                missing[found.code] += 1
    return Album(made, missing)


def wanted(row: Row[Any], roots: Sequence[str]) -> Wanted:
    """Return what to ask for: a row's image, if it is still the one that was classified."""
    return Wanted(row.uri, roots, SIDE, row.content_hash)


def picture(uri: str, album: Album, **more: Any) -> Picture:
    """Return an image as a page shows it."""
    found = album.thumbnails.get(uri)
    return Picture(
        name=name_of(uri),
        shown=shown(uri),
        link=link(uri),
        source=f"data:{found.kind};base64,{b64encode(found.content).decode()}" if found else "",
        # Pixels are to be seen as what they are, not smeared over the whole card.
        tiny=found is not None and max(found.width, found.height) <= SIDE // 4,
        **more,
    )


def answered(row: Row[Any], album: Album, truth: str | None = None) -> Picture:
    """Return a row's image with its best labels."""
    said = answer(row)
    return picture(
        row.uri,
        album,
        position=row.position,
        bars=said.predictions[:BARS],
        margin=said.margin,
        truth=truth,
    )
