"""Files that lie below none of a job's folders: told at once, for every worker will refuse them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from producer.sources.uris import ARCHIVES, file_uris, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from producer.sources.block import Block


@dataclass(slots=True)
class OutsideKept:
    """Lets blocks pass, and keeps the first file that is below none of the roots."""

    roots: Sequence[str]
    first: Path | None = None

    def looked_at(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield `blocks` as they are."""
        for block in blocks:
            self.first = self.first or outside(block.uris, self.roots)
            yield block


def outside(uris: Iterable[str], roots: Iterable[str]) -> Path | None:
    """Return the first local file below none of `roots`, real folders: workers will refuse it."""
    folders = tuple(f"{root.rstrip('/')}/" for root in roots)
    places = [uri.removeprefix("file") for uri in file_uris(folders)]
    inside = tuple(scheme + place for scheme in ("file", *ARCHIVES) for place in places)
    for uri in uris:
        if uri.startswith(inside):
            continue
        path = path_of(uri)
        # The user may have gone through a link to reach one of them.
        if path is not None and not _real_folder(str(path.parent)).startswith(folders):
            return path
    return None


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    return f"{os.path.realpath(folder).rstrip('/')}/"
