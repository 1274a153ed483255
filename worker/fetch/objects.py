"""The bytes of one object of a store, if the operator allows its bucket."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from core.errors import Code
from core.stores import Store, StoreError
from worker.fetch.body import is_packed, unpacked
from worker.fetch.refusal import Refused
from worker.fetch.timer import Timer

if TYPE_CHECKING:
    from core.limits import FetchLimits
    from worker.fetch.uri import ObjectKey


class ObjectReader:
    """Reads objects over kept-alive connections; thread-safe. Make it after forking."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._stores: dict[str, Store] = {}

    def read(self, place: ObjectKey) -> bytes:
        """Return the whole object.

        Raises:
            Refused: for everything that a store can do instead of giving it.
        """
        self._check_place(place)
        most = self._limits.max_bytes
        try:
            # One byte more than allowed: the answer is bounded, and shows that there is more.
            data = self._store(place.scheme).read(place.bucket, place.key, most + 1)
        except StoreError as error:
            raise Refused(error.code, error.detail) from None
        if len(data) > most:
            raise Refused(Code.TOO_LARGE, f"larger than {most} bytes")
        if not data:
            raise Refused(Code.EMPTY, "the object has no bytes")
        # Uploaded with `Content-Encoding: gzip`; of the three libraries one unpacks it by itself.
        return unpacked(data, Timer(self._limits, time.monotonic)) if is_packed(data) else data

    def _check_place(self, place: ObjectKey) -> None:
        if {"", ".", ".."} & set(place.key.split("/")):
            # Some servers resolve these, and would so lead out of an allowed prefix.
            raise Refused(Code.URI_INVALID, "the key holds an empty part, '.' or '..'")
        allowed = self._limits.buckets
        whole = f"{place.scheme}://{place.bucket}/{place.key}"
        if allowed and not any(whole.startswith(one.rstrip("/") + "/") for one in allowed):
            raise Refused(
                Code.PATH_FORBIDDEN, "the bucket is not one that CLASSYARD_BUCKETS allows"
            )

    def _store(self, scheme: str) -> Store:
        with self._lock:
            if scheme not in self._stores:
                self._stores[scheme] = Store(scheme, self._limits)
            return self._stores[scheme]
