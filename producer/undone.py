"""Undone: sources without the images that have labels already (`--skip-done`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from db import reuse
from producer.sources.block import Block, resized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db.jobs import JobRequest
    from db.session import Database
    from producer.sources import Sources

#: URIs asked for at once.
_BLOCK: Final = 1000


class Undone:
    """Reads like `Sources`; `skipped` counts what it left out so far."""

    def __init__(self, sources: Sources, database: Database, request: JobRequest) -> None:
        self._sources = sources
        self._database = database
        self._request = request
        self.skipped = 0

    def blocks(self, size: int) -> Iterator[Block]:
        """Read everything lazily, in blocks of `size` images; only the last may be shorter.

        Raises:
            ManifestError, UsageError: as `Sources.blocks`; but nothing left is no error.
        """
        return resized(map(self._without_done, self._sources.blocks(_BLOCK)), size)

    def _without_done(self, block: Block) -> Block:
        model, fingerprint = self._request.model, self._request.fingerprint
        done = self._database.read(reuse.done_uris, model, fingerprint, block.uris)
        if not done:
            return block
        self.skipped += sum(uri in done for uri in block.uris)
        kept = [number for number, uri in enumerate(block.uris) if uri not in done]
        extras = None if block.extras is None else [block.extras[number] for number in kept]
        return Block([block.uris[number] for number in kept], extras)
