"""Object stores (s3, gs, az): opened, read and listed from many threads.

Credentials come by each library's own conventions; nothing of a URI but bucket and key reaches it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from core.errors import Code
from core.storeclients import open_client
from core.storeerrors import StoreError, explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.limits import FetchLimits
    from core.storeclients import Page

__all__ = ["Store", "StoreError"]

#: Seconds before a page is asked for again, whose store was busy: thousands make up one listing.
_PAUSES: Final = (1.0, 4.0, 10.0)


class Store:
    """One object store, for many threads; make it after forking."""

    def __init__(self, scheme: str, limits: FetchLimits) -> None:
        """Load the store's library; nothing is connected yet.

        Raises:
            StoreError: the library is missing, or finds no credentials.
        """
        self._timeout = limits.total_timeout
        try:
            self._client = open_client(scheme, limits)
        except ImportError:
            raise StoreError(
                Code.STORE_UNAVAILABLE,
                f"{scheme} needs one more package: pip install 'classyard[{scheme}]'",
            ) from None
        except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
            found = explained(error)
            if (
                found.code is Code.READ_FAILED
            ):  # nothing was read: what is wrong is what we were given
                what = f"the store cannot be opened: {type(error).__name__}; check its credentials"
                found = StoreError(Code.STORE_UNAVAILABLE, what)
            raise found from None

    def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object, in one request.

        Raises:
            StoreError: there are none.
        """
        try:
            return bytes(self._wait(self._client.read(bucket, key, most)))
        except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
            raise explained(error) from None

    def pages(self, bucket: str, prefix: str) -> Iterator[list[str]]:
        """Yield the keys below `prefix`, a page at a time, in the store's order.

        Raises:
            StoreError: the store cannot be listed.
        """
        token: str | None = ""
        while token is not None:
            page = self._page(bucket, prefix, token)
            yield page.keys
            token = page.following

    def _page(self, bucket: str, prefix: str, token: str) -> Page:
        for pause in (*_PAUSES, None):
            try:
                page: Page = self._wait(self._client.page(bucket, prefix, token))
            except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
                found = explained(error)
                if pause is None or not found.code.transient:
                    raise found from None
                time.sleep(pause)
            else:
                return page
        raise AssertionError

    def _wait(self, work: Any) -> Any:
        """Wait for a coroutine on fsspec's own loop, and end it when its time is over."""
        return asyncio.run_coroutine_threadsafe(self._timed(work), self._client.loop).result()

    async def _timed(self, work: Any) -> Any:
        async with asyncio.timeout(self._timeout):
            return await work
