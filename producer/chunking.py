"""How many images a chunk gets: chosen from the job, the workers, the model's speed and the hosts' pace."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from db import queries, workers
from producer.sources.block import resized, tapered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from db.jobs import JobRequest
    from producer.sources import Block, Sources
    from producer.submit import Desk
    from producer.undone import Undone

#: Images in a chunk of a model that was never timed.
FIRST_CHUNK = 128
#: Seconds that a chunk should take: long enough to make its overhead small, short enough that a
#: small job behind a large one starts soon and a crash costs little.
CHUNK_SECONDS = 1.5
#: More for images behind a network: a chunk begins with a wait for the first of them.
REMOTE_CHUNK_SECONDS = 2.0
#: Schemes of such images.
REMOTE = ("http:", "https:", "s3:", "gs:", "az:")
#: Parts that the last chunks are cut into; remote ones would wait once for each.
PARTS, REMOTE_PARTS = 4, 2
#: Bounds of the automatic chunk size, in images.
SMALLEST, LARGEST = 16, 4096
#: Chunks per slot of a small job, so that no slot idles while another finishes a long last chunk.
CHUNKS_PER_SLOT = 4
#: Most images read ahead to choose the chunk size.
HEAD = 65_536


def sized_blocks(
    desk: Desk, request: JobRequest, sources: Sources | Undone, chunk_size: int
) -> Iterable[Block]:
    """Return the images in blocks of the size of a chunk.

    Only the beginning of the sources is read to choose it: a long job gets chunks that take about
    CHUNK_SECONDS, a short one gets enough of them for every slot. The last ones are smaller, so that
    no slot is done long before the others.
    """
    if chunk_size:
        return sources.blocks(chunk_size)
    slots, window, seconds = desk.database.read(_speed, desk, request)
    # A small job fits into one window: what does not waits for a whole round of the large ones.
    count = min(slots * CHUNKS_PER_SLOT, window) if slots else CHUNKS_PER_SLOT
    most = _images(seconds, REMOTE_CHUNK_SECONDS)
    blocks = sources.blocks(most)
    head = list(islice(blocks, min(count, HEAD // most)))
    remote = bool(head) and head[0].uris[0].lower().startswith(REMOTE)
    largest = most if remote else _images(seconds, CHUNK_SECONDS)
    if remote and desk.settings.rate_per_host:
        # All slots may ask one host in turns. What takes longer than the limit would be done again.
        share = desk.settings.rate_per_host / max(1, slots)
        largest = max(1, min(largest, int(share * desk.settings.soft_limit / 2)))
    images = sum(len(block.uris) for block in head)
    size = min(largest, max(1, -(-images // count)))
    parts = REMOTE_PARTS if remote else PARTS
    return tapered(resized(chain(head, blocks), size), max(1, slots), parts, SMALLEST)


def _images(seconds: float | None, chunk_seconds: float) -> int:
    """Return the images of a full chunk, of a model that takes `seconds` for one."""
    if seconds is None:
        return FIRST_CHUNK
    return min(LARGEST, max(SMALLEST, round(chunk_seconds / seconds)))


def _speed(
    connection: Connection, desk: Desk, request: JobRequest
) -> tuple[int, int, float | None]:
    """Return the live slots, the window, and the seconds that an image lately took."""
    slots = workers.live_slots(connection, desk.settings.dead_after, request.queue)
    window = desk.dispatcher.window(connection, request.queue)
    return slots, window, queries.image_seconds(connection, request.model, request.fingerprint)
