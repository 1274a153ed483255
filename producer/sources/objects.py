"""Prefixes of object stores as sources: listed page by page, images by their extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import UsageError
from core.stores import Store, StoreError
from core.types import printable
from producer.sources.block import Block
from producer.sources.folders import LOOKED_FOR, is_image_name
from producer.sources.uris import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.limits import FetchLimits


def is_prefix(uri: str) -> bool:
    """Return whether a URI of a store names a prefix: it ends with `/`, or not like an image."""
    key = uri.partition("://")[2].partition("/")[2]
    return not key or key.endswith("/") or "." not in key.rpartition("/")[2]


def read_prefix(uri: str, limits: FetchLimits) -> Iterator[Block]:
    """Yield the images below a prefix, in the store's order; hidden ones are passed over.

    Raises:
        UsageError: the store cannot be listed.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
    try:
        for keys in Store(scheme, limits).pages(bucket, prefix):
            found = [
                f"{scheme}://{bucket}/{key}"
                for key in keys
                if is_image_name(key) and "/." not in f"/{key[len(prefix) :]}"
            ]
            for one in found:
                if fault := fault_of(one):
                    raise UsageError(f"{printable(uri)}: a key cannot be a URI: {fault}")
            if found:
                yield Block(found)
    except StoreError as error:
        raise UsageError(f"cannot list {printable(uri)}: {error.detail}") from None


def no_image_in(shown: str) -> str:
    """Return what to say of a prefix without an image."""
    return f"no image below {shown}: {LOOKED_FOR}"
