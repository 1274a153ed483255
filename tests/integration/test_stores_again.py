"""S3's second object of a bucket: asked for on a short way, and still like the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection

import boto3
import pytest

from core.errors import Code
from core.types import Failure
from tests.integration.test_fetch_http import Site, Visit, site
from tests.integration.test_stores import credentials, limits
from tests.integration.test_stores_broken import endless
from tests.support.s3 import S3, s3_server
from worker.fetch import Fetcher

__all__ = ["credentials", "site"]

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")

ODD = ["first.png", "a b/ö+%2F&?x=1.png", "~tilde/(1)'!*.png", "日本/é.jpg", "a=b:c@d$e,f;g.png"]
#: What botocore sends with every request, and we do not.
BOTOCORE = "amz-sdk-invocation-id"


@pytest.fixture
def fetcher(site: Site) -> Iterator[Fetcher]:
    made = Fetcher(limits(site.url(""), fetch_timeout=3, read_timeout=1))
    yield made
    made.close()


@pytest.fixture
def heads(site: Site) -> list[str]:
    """The requests for `bkt/0.png` to `bkt/3.png`, as they come in."""
    seen: list[str] = []

    def found(visit: Visit) -> None:
        seen.append(visit.head)
        visit.answer(b"bytes", "206 Part", ("Content-Range: bytes 0-4/5", 'ETag: "1"'))

    site.routes |= {f"/bkt/{n}.png": found for n in range(4)}
    return seen


def strict(server: S3) -> tuple[str, str]:
    """Let the server check signatures from now on; return the id and the secret of a user who may read."""
    iam = boto3.client("iam", endpoint_url=server.endpoint)
    iam.create_user(UserName="reader")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 200
    connection.close()
    return key["AccessKeyId"], key["SecretAccessKey"]


def test_a_server_that_checks_signatures_gives_every_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with s3_server() as server:
        server.fill("odd", {key: key.encode() for key in ODD})
        name, secret = strict(server)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        fetcher = Fetcher(limits(server.endpoint))
        assert [fetcher.fetch(f"s3://odd/{key}", []) for key in ODD] == [
            key.encode() for key in ODD
        ]
        fetcher.close()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
        fetcher = Fetcher(limits(server.endpoint))
        refused = fetcher.fetch("s3://odd/first.png", [])
        fetcher.close()
        assert isinstance(refused, Failure), "the server checks nothing"
        assert refused.code is Code.PERMISSION


def test_only_the_first_object_of_a_bucket_goes_the_long_way(
    fetcher: Fetcher, heads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for-an-hour")
    assert [fetcher.fetch(f"s3://bkt/{n}.png", []) for n in range(3)] == [b"bytes"] * 3
    assert [BOTOCORE in head for head in heads] == [True, False, False]
    for head in heads:
        sent = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        assert sent["range"] == heads[0].lower().split("range: ")[1].split("\r\n")[0]
        assert sent["x-amz-security-token"] == "for-an-hour"
        assert sent["user-agent"].startswith("classyard")
        assert "signedheaders=host;range;x-amz" in sent["authorization"]


def test_without_credentials_nothing_is_signed(site: Site, heads: list[str]) -> None:
    fetcher = Fetcher(limits(site.url(""), anonymous="s3"))
    assert [fetcher.fetch(f"s3://bkt/{n}.png", []) for n in range(2)] == [b"bytes"] * 2
    fetcher.close()
    assert [BOTOCORE in head for head in heads] == [True, False]
    assert not any("authorization" in head.lower() for head in heads)


@pytest.mark.parametrize("status", ["301 Elsewhere", "307 Soon", "400 Bad", "403 No"])
def test_what_the_short_way_does_not_understand_botocore_is_asked(
    status: str, site: Site, fetcher: Fetcher, heads: list[str]
) -> None:
    def other(visit: Visit) -> None:
        if BOTOCORE in visit.head:
            return visit.answer(b"other", "206 Part", ("Content-Range: bytes 0-4/5",))
        return visit.answer(b"<Error/>", status)

    site.routes["/bkt/other.png"] = other
    assert fetcher.fetch("s3://bkt/0.png", []) == b"bytes"
    assert fetcher.fetch("s3://bkt/other.png", []) == b"other"
    assert len(heads) == 1


@pytest.mark.parametrize(
    ("route", "wanted"),
    [
        (lambda visit: visit.answer(b"", "404 Not Found"), Code.FILE_NOT_FOUND),
        (lambda visit: visit.answer(b"", "503 Slow"), Code.HTTP_5XX),
        (lambda visit: visit.answer(b"", "429 Many"), Code.HTTP_429),
        (lambda visit: visit.answer(b"", "403 Forbidden"), Code.PERMISSION),
        (
            lambda visit: visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
            Code.TRUNCATED,
        ),
        (lambda visit: visit.site.stopping.wait(20), Code.TIMEOUT_READ),
        (lambda visit: None, Code.CONN_FAILED),
        (endless, Code.TOO_LARGE),
    ],
    ids=["404", "503", "429", "403", "short", "silent", "hangs up", "endless"],
)
def test_a_second_object_that_is_refused(
    route: object, wanted: Code, site: Site, heads: list[str]
) -> None:
    site.routes["/bkt/bad.png"] = route  # type: ignore[assignment]
    fetcher = Fetcher(limits(site.url(""), fetch_timeout=3, read_timeout=1, max_bytes=1_000_000))
    assert fetcher.fetch("s3://bkt/0.png", []) == b"bytes"
    found = fetcher.fetch("s3://bkt/bad.png", [])
    assert isinstance(found, Failure)
    assert found.code is wanted
    assert fetcher.fetch("s3://bkt/1.png", []) == b"bytes"
    fetcher.close()
    if wanted in {Code.FILE_NOT_FOUND, Code.HTTP_5XX, Code.HTTP_429}:
        assert site.hits.count("/bkt/bad.png") == 1, "asked twice"
