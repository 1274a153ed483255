"""A source, ready to be read, and all those of one command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import UsageError
from core.types import printable
from producer.sources.block import Block, resized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """One argument of the command line, ready to be read.

    Attributes:
        read: Begins to read it; may be called again, except for standard input.
        description: What it is, short and safe to show.
        roots: The folders that its file URIs may lie under, as real paths.
        empty: What to say if there is no image in it.
        one: Whether it is a single image.
    """

    read: Callable[[], Iterator[Block]]
    description: str
    roots: tuple[Path, ...]
    empty: str
    one: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """All arguments of the command line, in their order."""

    sources: tuple[Source, ...]

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that file URIs of this job may lie under: absolute real paths, each once."""
        return tuple(dict.fromkeys(root for source in self.sources for root in source.roots))

    @property
    def one_image(self) -> bool:
        """Whether all there is is a single image."""
        return len(self.sources) == 1 and self.sources[0].one

    @property
    def description(self) -> str:
        """What is read, on one short line."""
        return printable(", ".join(source.description for source in self.sources))

    def blocks(self, size: int) -> Iterator[Block]:
        """Read everything lazily, in blocks of `size` images; only the last may be shorter.

        Raises:
            ManifestError: A manifest cannot be read; names the line.
            UsageError: A folder cannot be read, or there is no image at all.
        """
        found = False
        for block in resized((b for source in self.sources for b in source.read()), size):
            found = True
            yield block
        if not found:
            raise UsageError(printable("; ".join(source.empty for source in self.sources), 1000))
