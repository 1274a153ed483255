"""Content hash: tells whether two images are the same bytes."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from blake3 import blake3

#: Bytes of a hash: too many for two images to share one, by chance or by intent below 2^64 tries.
_SIZE: Final = 16


def hash_of(content: bytes) -> str:
    """Return the hash that `results.content_hash` holds: BLAKE3, as `b3sum --length 16` prints it."""
    return blake3(content).hexdigest(length=_SIZE)


def is_hash_of(content_hash: str, content: bytes) -> bool:
    """Whether these are the bytes that were hashed; rows may be older than BLAKE3 is used here."""
    return content_hash in (hash_of(content), blake2b(content, digest_size=_SIZE).hexdigest())
