"""Content hash: tells whether two images are the same bytes."""

from __future__ import annotations

from hashlib import blake2b


def hash_of(content: bytes) -> str:
    """Return the hash that `results.content_hash` holds."""
    return blake2b(content, digest_size=16).hexdigest()
