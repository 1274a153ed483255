"""What Classyard asks of an object store, in each one's own words: an object's bytes, a page of keys.

fsspec's libraries open the stores and find the credentials. What they do beyond one plain request is
left alone: requests of their own, tries that nobody counts, folders that are held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from core.s3again import Way, ask_again, way_of
from core.storeerrors import StatusError

if TYPE_CHECKING:
    from core.limits import FetchLimits

#: Keys of one page: as many as S3 gives, so that all stores take the same memory.
_PAGE: Final = 1000
_CONNECTIONS: Final = 64
#: Bytes read at once.
_READ: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Page:
    """Keys of a listing, and where the next page begins; None after the last."""

    keys: list[str]
    following: str | None


class Client(Protocol):
    """One store; its coroutines run on its `loop`."""

    loop: Any

    async def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object."""
        ...

    async def page(self, bucket: str, prefix: str, token: str) -> Page:
        """Return the page of the keys below `prefix` that begins at `token`; "" for the first."""
        ...


def open_client(scheme: str, limits: FetchLimits) -> Client:
    """Return a client of the store.

    Raises:
        ImportError: its library is missing.
        Exception: whatever the library raises when it finds no credentials.
    """
    clients: dict[str, type[S3 | Gs | Az]] = {"s3": S3, "gs": Gs, "az": Az}
    return clients[scheme](limits)


def _opened(scheme: str, **options: Any) -> Any:
    import fsspec

    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)


class S3:
    """Amazon's store and what is compatible with it."""

    def __init__(self, limits: FetchLimits) -> None:
        config = {
            "connect_timeout": limits.connect_timeout,
            "read_timeout": limits.read_timeout,
            "max_pool_connections": _CONNECTIONS,
            # Ours are counted, jittered and bounded.
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            # A third of what a request costs the processor, beside reading the answer: the library
            # composes its own description for each request, and checks ours.
            "user_agent": limits.user_agent,
            "parameter_validation": False,
        }
        endpoint = {"endpoint_url": limits.s3_endpoint} if limits.s3_endpoint else {}
        anonymous = "s3" in limits.anonymous
        self._files = _opened("s3", anon=anonymous, config_kwargs=config, **endpoint)
        self.loop = self._files.loop
        self._agent = limits.user_agent
        self._ways: dict[str, Way | None] = {}

    async def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object."""
        client = await self._files.set_session()
        wanted = f"bytes=0-{most - 1}"
        if way := self._ways.get(bucket):
            headers = {"Range": wanted, "User-Agent": self._agent}
            again = await ask_again(self._files, client, way, key, headers)
            if again is not None:
                async with again:
                    return await _bounded(again.content, most)
        answer = await client.get_object(Bucket=bucket, Key=key, Range=wanted)
        async with answer["Body"] as body:
            content = await _bounded(body, most)
        self._ways[bucket] = way_of(body, key)
        return content

    async def page(self, bucket: str, prefix: str, token: str) -> Page:
        """Return one page of keys."""
        client = await self._files.set_session()
        start = {"ContinuationToken": token} if token else {}
        found = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, **start)
        keys = [one["Key"] for one in found.get("Contents", ())]
        return Page(keys, found.get("NextContinuationToken") or None)


class Gs:
    """Google's store, by its JSON interface."""

    def __init__(self, limits: FetchLimits) -> None:
        from aiohttp import ClientTimeout

        self._files = _opened("gs", **({"token": "anon"} if "gs" in limits.anonymous else {}))
        self.loop = self._files.loop
        self._timeout = ClientTimeout(
            None, sock_connect=limits.connect_timeout, sock_read=limits.read_timeout
        )

    async def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object."""
        url = self._files.url(f"{bucket}/{key}")
        async with await self._get(url, {}, {"Range": f"bytes=0-{most - 1}"}) as answer:
            return await _bounded(answer.content, most)

    async def page(self, bucket: str, prefix: str, token: str) -> Page:
        """Return one page of keys."""
        asked = {"maxResults": _PAGE, "fields": "items/name,nextPageToken"}
        asked |= {"prefix": prefix} if prefix else {}
        asked |= {"pageToken": token} if token else {}
        url = f"{self._files.base}b/{quote(bucket, safe='')}/o"
        async with await self._get(url, asked, {}) as answer:
            found = await answer.json(content_type=None)
        keys = [one["name"] for one in found.get("items", ())]
        return Page(keys, found.get("nextPageToken") or None)

    async def _get(self, url: str, params: dict[str, Any], headers: dict[str, str]) -> Any:
        # gcsfs's own reading asks a second service what kind of bucket it is, for up to a minute, and
        # tries six times; of its errors, a refusal (403) has no status.
        session = await self._files._set_session() or self._files.session
        answer = await session.get(
            url,
            params=self._files._get_params(params),
            headers=self._files._get_headers(headers),
            timeout=self._timeout,
        )
        if answer.status not in {200, 206}:
            answer.release()
            raise StatusError(answer.status)
        return answer


class Az:
    """Azure's blobs."""

    def __init__(self, limits: FetchLimits) -> None:
        self._files = _opened("az", **({"anon": True} if "az" in limits.anonymous else {}))
        self.loop = self._files.loop
        self._options = {
            "connection_timeout": limits.connect_timeout,
            "read_timeout": limits.read_timeout,
            "retry_total": 0,  # ours are counted, jittered and bounded
        }

    async def read(self, bucket: str, key: str, most: int) -> bytes:
        """Return the first `most` bytes of an object."""
        service = self._files.service_client
        async with service.get_blob_client(container=bucket, blob=key) as blob:
            stream = await blob.download_blob(
                offset=0, length=most, max_concurrency=1, **self._options
            )
            content: bytes = await stream.readall()
            return content

    async def page(self, bucket: str, prefix: str, token: str) -> Page:
        """Return one page of keys."""
        async with self._files.service_client.get_container_client(bucket) as container:
            blobs = container.list_blobs(prefix, results_per_page=_PAGE, **self._options)
            pages = blobs.by_page(continuation_token=token or None)
            keys = [blob.name async for blob in await anext(pages)]
            return Page(keys, pages.continuation_token or None)


async def _bounded(body: Any, most: int) -> bytes:
    """Return what a body holds, at most so much of it: a server may ignore the range it was asked for."""
    parts: list[bytes] = []
    left = most
    while left and (part := await body.read(min(left, _READ))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
