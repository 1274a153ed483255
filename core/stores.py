"""Object stores (s3, gs, az) through fsspec: opened, read, listed, and their errors told apart.

Credentials come by each library's own conventions; nothing of a URI but bucket and key reaches it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from core.errors import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.limits import FetchLimits

#: Keys told at once by `pages`, where the store does not say how many itself.
_PAGE: Final = 1000
_CONNECTIONS: Final = 64
#: Bytes read at once.
_READ: Final = 1 << 18

#: What the libraries raise, by the names of their classes: they need not be installed to be told apart.
_BY_NAME: Final = {
    "FileNotFoundError": (Code.FILE_NOT_FOUND, "no such object"),
    "ResourceNotFoundError": (Code.FILE_NOT_FOUND, "no such object"),
    "IsADirectoryError": (Code.NOT_A_FILE, "it is a prefix, not an object"),
    "PermissionError": (Code.PERMISSION, "the store refuses these credentials"),
    "ClientAuthenticationError": (Code.PERMISSION, "the store refuses these credentials"),
    "NoCredentialsError": (Code.STORE_UNAVAILABLE, "no credentials for this store"),
    "PartialCredentialsError": (Code.STORE_UNAVAILABLE, "no whole credentials for this store"),
    "CredentialRetrievalError": (Code.STORE_UNAVAILABLE, "credentials could not be had"),
    "DefaultCredentialsError": (Code.STORE_UNAVAILABLE, "no credentials for this store"),
    "RefreshError": (Code.STORE_UNAVAILABLE, "credentials could not be renewed"),
    "ConnectTimeoutError": (Code.TIMEOUT_CONNECT, "no connection to the store"),
    "ConnectionTimeoutError": (Code.TIMEOUT_CONNECT, "no connection to the store"),
    "ReadTimeoutError": (Code.TIMEOUT_READ, "no bytes from the store"),
    "SocketTimeoutError": (Code.TIMEOUT_READ, "no bytes from the store"),
    "TimeoutError": (Code.TIMEOUT_TOTAL, "not finished in time"),
    "IncompleteReadError": (Code.TRUNCATED, "the store's answer was cut off"),
    "ResponseStreamingError": (Code.TRUNCATED, "the store's answer was cut off"),
    "ClientPayloadError": (Code.TRUNCATED, "the store's answer was cut off"),
    "EndpointConnectionError": (Code.CONN_FAILED, "no connection to the store"),
    "HTTPClientError": (Code.CONN_FAILED, "the connection to the store broke"),
    "ClientConnectionError": (Code.CONN_FAILED, "the connection to the store broke"),
    "ServiceRequestError": (Code.CONN_FAILED, "no connection to the store"),
    "ConnectionError": (Code.CONN_FAILED, "the connection to the store broke"),
}  # fmt: skip


class StoreError(Exception):
    """A store could not be used; the code says why an image has no bytes, the text is one line."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Store:
    """One object store, for many threads; make it after forking."""

    def __init__(self, scheme: str, limits: FetchLimits) -> None:
        """Load the store's library; nothing is connected yet.

        Raises:
            StoreError: the library is missing, or finds no credentials.
        """
        self._scheme = scheme
        self._timeout = limits.total_timeout
        try:
            import fsspec

            self._files: Any = fsspec.filesystem(scheme, **_options(scheme, limits))
        except ImportError:
            raise StoreError(
                Code.STORE_UNAVAILABLE,
                f"{scheme} needs one more package: pip install 'classyard[{scheme}]'",
            ) from None
        except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
            raise explained(error) from None

    def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object, in one request.

        Raises:
            StoreError: there are none.
        """
        try:
            if self._scheme == "s3":
                return bytes(self._wait(self._s3_object(bucket, key, most)))
            return bytes(self._call("cat_file", f"{bucket}/{key}", start=0, end=most))
        except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
            raise explained(error) from None

    def pages(self, bucket: str, prefix: str) -> Iterator[list[str]]:
        """Yield the keys below `prefix`, a page at a time, in the store's order.

        Raises:
            StoreError: the store cannot be listed.
        """
        try:
            listed = self._s3_pages if self._scheme == "s3" else self._walked
            yield from listed(bucket, prefix)
        except Exception as error:  # noqa: BLE001  libraries raise anything; told apart by name
            raise explained(error) from None

    async def _s3_object(self, bucket: str, key: str, most: int) -> bytes:
        # The client itself: fsspec reads whatever comes, and compatible servers may ignore a range.
        client = await self._files.set_session()
        wanted = f"bytes=0-{most - 1}"
        answer = await client.get_object(Bucket=bucket, Key=key, Range=wanted)
        parts: list[bytes] = []
        left = most
        async with answer["Body"] as body:
            while left and (part := await body.read(min(left, _READ))):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def _s3_pages(self, bucket: str, prefix: str) -> Iterator[list[str]]:
        # fsspec's own listing holds all keys of a prefix in memory.
        client = self._wait(self._files.set_session())
        paginator = client.get_paginator("list_objects_v2")
        pages = aiter(paginator.paginate(Bucket=bucket, Prefix=prefix))
        while (page := self._wait(anext(pages, None))) is not None:
            yield [one["Key"] for one in page.get("Contents", ())]

    def _walked(self, bucket: str, prefix: str) -> Iterator[list[str]]:
        """List one level after the other: what all of fsspec's stores can do."""
        if not self._files.exists(f"{bucket}/{prefix}".rstrip("/")):
            raise FileNotFoundError
        for folder, folders, names in self._files.walk(f"{bucket}/{prefix}".rstrip("/")):
            folders.sort()
            inner = folder.strip("/").partition("/")[2]
            start = f"{inner}/" if inner else ""
            keys = [start + name for name in sorted(names)]
            for first in range(0, len(keys), _PAGE):
                yield keys[first : first + _PAGE]

    def _call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        if self._files.async_impl:
            return self._wait(getattr(self._files, f"_{verb}")(*args, **kwargs))
        return getattr(self._files, verb)(*args, **kwargs)

    def _wait(self, work: Any) -> Any:
        """Wait for a coroutine on fsspec's own loop, and end it when its time is over."""
        timed = asyncio.wait_for(work, self._timeout)
        return asyncio.run_coroutine_threadsafe(timed, self._files.loop).result()


def explained(error: BaseException) -> StoreError:
    """Return what an error of a store's library means; its text, which may hold anything, is left out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, StoreError):
            return seen
        if status := _status(seen):
            return _by_status(status)
        for kind in type(seen).__mro__:
            if kind.__name__ in _BY_NAME:
                return StoreError(*_BY_NAME[kind.__name__])
        seen = seen.__cause__
    return StoreError(Code.READ_FAILED, f"the store gave an error: {type(error).__name__}")


def _status(error: BaseException) -> int:
    """Return the HTTP status in an error of botocore, azure or gcsfs; 0 if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    else:
        status = getattr(error, "status_code", None) or getattr(error, "code", 0)
    return int(status) if str(status).isdigit() else 0


def _by_status(status: int) -> StoreError:
    if status in {404, 410}:
        return StoreError(*_BY_NAME["FileNotFoundError"])
    if status in {401, 403}:
        return StoreError(*_BY_NAME["PermissionError"])
    if status == 416:
        return StoreError(Code.EMPTY, "the object has no bytes")
    if status == 429:
        return StoreError(Code.HTTP_429, "HTTP 429")
    code = Code.HTTP_5XX if status >= 500 else Code.HTTP_4XX
    return StoreError(code, f"HTTP {status}")


def _options(scheme: str, limits: FetchLimits) -> dict[str, Any]:
    anonymous = scheme in limits.anonymous
    common = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "gs":
        return {**common, **({"token": "anon"} if anonymous else {})}
    if scheme == "az":
        return {**common, **({"anon": True} if anonymous else {})}
    config = {
        "connect_timeout": limits.connect_timeout,
        "read_timeout": limits.read_timeout,
        "max_pool_connections": _CONNECTIONS,
        # Ours are counted, jittered and bounded.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
    }
    endpoint = {"endpoint_url": limits.s3_endpoint} if limits.s3_endpoint else {}
    return {**common, "anon": anonymous, "config_kwargs": config, **endpoint}
