"""A real S3-compatible server on loopback, moto's, in a process of its own."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.stores import served

if TYPE_CHECKING:
    from collections.abc import Iterator

#: moto takes any; without some, the client would not ask at all.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
#: Keys in one page of a listing: few, so that a test needs few objects for several pages.
PAGE = 50


class S3:
    """The server's side: makes buckets and puts objects."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"

    def put(self, bucket: str, key: str = "", body: bytes = b"") -> None:
        """Put an object, or without a key make the bucket."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            public = {"x-amz-acl": "public-read"}
            connection.request("PUT", quote(f"/{bucket}/{key}".rstrip("/")), body, public)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

    def fill(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Make a bucket with objects."""
        self.put(bucket)
        for key, body in objects.items():
            self.put(bucket, key, body)


@contextmanager
def s3_server() -> Iterator[S3]:
    """Start the server and wait until it answers."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    with served(command, MOTO_S3_DEFAULT_MAX_KEYS=str(PAGE)) as port:
        yield S3(port)
