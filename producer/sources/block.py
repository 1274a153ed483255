"""Blocks of consecutive images: lists, because an object per image would cost more than reading it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The further columns of one image.
Extra: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive images. `extras` is None where no image of the block has any."""

    uris: list[str]
    extras: list[Extra | None] | None = None


def resized(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Cut and join `blocks` into blocks of `size` images; only the last may be shorter."""
    if size < 1:
        msg = f"a block needs at least one image, not {size}"
        raise ValueError(msg)
    uris: list[str] = []
    extras: list[Extra | None] = []
    for block in blocks:
        uris += block.uris
        extras += block.extras if block.extras is not None else [None] * len(block.uris)
        whole = len(uris) - len(uris) % size
        for start in range(0, whole, size):
            yield _block(uris[start : start + size], extras[start : start + size])
        if whole:
            uris, extras = uris[whole:], extras[whole:]
    if uris:
        yield _block(uris, extras)


def tapered(blocks: Iterable[Block], last: int, parts: int, smallest: int) -> Iterator[Block]:
    """Cut each of the `last` blocks into `parts`, of `smallest` images at least.

    Whoever works on them ends at nearly the same time as all others.
    """
    held: deque[Block] = deque()
    for block in blocks:
        held.append(block)
        if len(held) > last:
            yield held.popleft()
    for block in held:
        yield from resized([block], max(smallest, -(-len(block.uris) // parts)))


def _block(uris: list[str], extras: list[Extra | None]) -> Block:
    return Block(uris, extras if any(extras) else None)
