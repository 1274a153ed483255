"""What a message may say. It is untrusted: anybody who reaches Redis can have written it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broker.app import VERSION
from core.types import digest, encode_uris

#: Most URIs of one message, and most characters of one URI.
MOST_URIS = 10_000
LONGEST_URI = 8192


class BadMessageError(Exception):
    """A message that no producer of ours wrote."""


@dataclass(frozen=True, slots=True)
class ChunkMessage:
    """The work order: which chunk, and a copy of its URIs that the digest ties to its row."""

    job_id: int
    chunk_id: int
    digest: str
    uris: list[str]


def read_message(fields: dict[str, Any]) -> ChunkMessage:
    """Check a message's fields.

    Raises:
        BadMessageError: if anything about it is not as a producer of this version writes it.
    """
    if set(fields) != {"v", "job_id", "chunk_id", "digest", "uris"}:
        raise BadMessageError("unknown or missing fields")
    if type(fields["v"]) is not int or fields["v"] != VERSION:
        raise BadMessageError("unknown version")
    job_id, chunk_id, uris = fields["job_id"], fields["chunk_id"], fields["uris"]
    if type(job_id) is not int or type(chunk_id) is not int or not isinstance(uris, list):
        raise BadMessageError("wrong types")
    if not (0 < job_id < 2**31 and 0 < chunk_id < 2**31 and 0 < len(uris) <= MOST_URIS):
        raise BadMessageError("out of range")
    if not all(isinstance(uri, str) and len(uri) <= LONGEST_URI for uri in uris):
        raise BadMessageError("a URI is no text or too long")
    if digest(encode_uris(uris)) != fields["digest"]:
        raise BadMessageError("the digest is not that of the URIs")
    return ChunkMessage(job_id, chunk_id, fields["digest"], uris)
