"""S3's objects on a short way: asked for as botocore asked for another one of the same bucket.

botocore takes 1 ms of processor time for each object, most of it to find out again where a bucket lies and to
describe an answer that nobody reads. It finds the first object of a bucket, with all that it knows of regions,
endpoints and accounts; those after it differ in their key, their date and their signature only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from core.storeerrors import StatusError

_FOUND: Final = {200, 206}
#: Of these there is no more to know: no such object, nothing in it, too many requests. Others, above all
#: "it lies in another region", are botocore's to understand.
_PLAIN: Final = {404, 416, 429}
_SIGNED: Final = "AWS4-HMAC-SHA256 Credential="


@dataclass(frozen=True, slots=True)
class Way:
    """Where a bucket's objects lie: `base` is the address before a key; `region` is "" for anonymous."""

    base: str
    region: str


def way_of(answer: Any, key: str) -> Way | None:
    """Return how the object that was just found was asked for; None if there is more to it."""
    asked = getattr(getattr(answer, "raw_stream", None), "request_info", None)
    if asked is None:
        return None
    address, ending = str(asked.url), _quoted(key)
    if not address.endswith(f"/{ending}") or "x-amz-s3session-token" in asked.headers:
        return None
    signature = asked.headers.get("Authorization")
    if signature is None:
        return Way(address.removesuffix(ending), "")
    # Authorization: AWS4-HMAC-SHA256 Credential=<id>/<date>/<region>/s3/aws4_request, ...
    scope = signature.removeprefix(_SIGNED).partition(",")[0].split("/")
    if not signature.startswith(_SIGNED) or len(scope) < 5 or scope[-2] != "s3":
        return None
    return Way(address.removesuffix(ending), scope[-3])


async def ask_again(files: Any, client: Any, way: Way, key: str, headers: dict[str, str]) -> Any:
    """Return aiohttp's answer that holds the object, unread; None if botocore should be asked.

    `files` is the file system of s3fs, for its credentials; `client` its client, for its connections.

    Raises:
        StatusError: there is no such object, or the store is busy.
        Exception: what botocore raises of connections.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest("GET", way.base + _quoted(key), headers, stream_output=True)
    if way.region:
        credentials = await (await files.session.get_credentials()).get_frozen_credentials()
        S3SigV4Auth(credentials, "s3", way.region).add_auth(request)
    answer = (await client._endpoint.http_session.send(request.prepare())).raw
    if answer.status in _FOUND:
        return answer
    answer.release()
    if answer.status in _PLAIN or answer.status >= 500:
        raise StatusError(answer.status)
    return None


def _quoted(key: str) -> str:
    """Return a key as botocore writes it into an address."""
    return quote(key, safe="/~")
