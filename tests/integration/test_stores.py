"""Object stores: emulators of all three on loopback. Azure's is optional: `npm install azurite`."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

import azure.core.exceptions as azures
import fsspec
import google.auth.exceptions as googles
import pytest
from gcsfs.retry import HttpError

from core.errors import Code, UsageError
from core.limits import FetchLimits
from core.settings import read_settings
from core.storeerrors import explained
from core.types import Failure
from producer.sources import open_sources
from tests.conftest import unavailable
from tests.support.s3 import CREDENTIALS, PAGE, S3, s3_server
from tests.support.stores import Emulator, azure, azure_environment, azurite, google
from worker.fetch import Fetcher

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def limits(endpoint: str = "", **more: Any) -> FetchLimits:
    given = {"schemes": "s3,gs,az,file", "fetch_tries": 1, "connect_timeout": 2, "read_timeout": 2}
    return read_settings(**{**given, "s3_endpoint": endpoint, **more}).fetch_limits


def fetched(uri: str, allowed: FetchLimits) -> bytes | Failure:
    fetcher = Fetcher(allowed)
    try:
        return fetcher.fetch(uri, [])
    finally:
        fetcher.close()


def code(uri: str, allowed: FetchLimits) -> Code:
    outcome = fetched(uri, allowed)
    assert isinstance(outcome, Failure), outcome
    return outcome.code


def listed(uri: str, allowed: FetchLimits) -> list[str]:
    return [uri for block in open_sources([uri], limits=allowed).blocks(100) for uri in block.uris]


def test_objects_are_their_bytes(s3: S3) -> None:
    objects = {f"scans/{n}.png": bytes([n]) * 1000 for n in range(20)}
    objects |= {"a b/ö+%2F&?x=1.png": b"odd"}
    s3.fill("bytes", objects)
    fetcher = Fetcher(limits(s3.endpoint))
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda key: fetcher.fetch(f"s3://bytes/{key}", []), objects)
        assert list(found) == list(objects.values())
    fetcher.close()


def test_what_an_object_can_be_instead(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.fill("odd", {"empty.png": b"", "just.png": bytes(1000), "large.png": bytes(1001)})
    allowed = limits(s3.endpoint, max_bytes=1000)
    assert code("s3://odd/none.png", allowed) is Code.FILE_NOT_FOUND
    assert code("s3://no-such-bucket/a.png", allowed) is Code.FILE_NOT_FOUND
    assert code("s3://odd/empty.png", allowed) is Code.EMPTY
    assert code("s3://odd/large.png", allowed) is Code.TOO_LARGE
    assert fetched("s3://odd/just.png", allowed) == bytes(1000)
    for size, wanted in ((1000, bytes(1000)), (1001, Code.TOO_LARGE)):
        s3.put("odd", "packed.png", gzip.compress(bytes(size)))
        found = fetched("s3://odd/packed.png", allowed)
        assert getattr(found, "code", found) == wanted
    assert code("s3://odd/a.png", limits("http://127.0.0.1:9")) is Code.CONN_FAILED
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert code("s3://odd/just.png", allowed) is Code.STORE_UNAVAILABLE
    assert fetched("s3://odd/just.png", limits(s3.endpoint, anonymous="s3")) == bytes(1000)


def test_where_a_uri_may_not_lead(s3: S3) -> None:
    default = read_settings(s3_endpoint=s3.endpoint).fetch_limits
    assert code("s3://odd/just.png", default) is Code.URI_SCHEME
    fenced = limits(s3.endpoint, buckets="s3://other,s3://odd/open/")
    for key in ("just.png", "opened/a.png", "open"):
        assert code(f"s3://odd/{key}", fenced) is Code.PATH_FORBIDDEN
    assert code("s3://odd/open/none.png", fenced) is Code.FILE_NOT_FOUND
    for uri in ("s3://odd", "s3://odd/", "s3:///a.png", "s3://u:p@h/a.png", "s3://h:80/a.png",
                "s3://../a.png", "s3://odd/open/../just.png", "s3://odd//a.png"):  # fmt: skip
        assert code(uri, fenced) is Code.URI_INVALID, uri


def test_a_prefix_is_listed_page_by_page(s3: S3) -> None:
    s3.fill("many", {f"in/{n:03}.jpg": b"" for n in range(2 * PAGE)})
    for key in ("in/notes.txt", "in/.hidden.jpg", "in/.trash/a.jpg", "in/deep/z.PNG", "out/a.jpg"):
        s3.put("many", key, b"")
    allowed = limits(s3.endpoint)
    wanted = [*(f"s3://many/in/{n:03}.jpg" for n in range(2 * PAGE)), "s3://many/in/deep/z.PNG"]
    assert listed("s3://many/in/", allowed) == wanted
    assert listed("s3://many/in", allowed) == wanted
    assert len(listed("s3://many", allowed)) == len(wanted) + 1
    pages = open_sources(["s3://many/in/"], limits=allowed).sources[0].read()
    assert len(next(pages).uris) <= PAGE
    pages.close()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"no image below s3://many/none/"):
        listed("s3://many/none/", allowed)
    with pytest.raises(UsageError, match=r"cannot list s3://no-bucket/a/: no such object"):
        listed("s3://no-bucket/a/", allowed)


#: Every kind of name that a store may hold, and that must come back as it is.
ODD = (
    "a b.jpg",
    "ö日.jpg",
    "h#1.jpg",
    "q?x=1&y.jpg",
    "p%20q.jpg",
    "a+b.jpg",
    "it's!.jpg",
    "e=1,2.jpg",
)


@pytest.fixture(scope="module", params=["gs", "az"])
def emulator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Emulator]:
    if request.param == "az" and not azurite():
        pytest.skip("no Azurite: npm install azurite, or set CLASSYARD_TEST_AZURITE")
    if request.param == "gs" and find_spec("gcp_storage_emulator") is None:
        unavailable("no emulator of Google's store: pip install gcp-storage-emulator")
    folder = tmp_path_factory.mktemp("azurite")
    with google() if request.param == "gs" else azure(folder) as started:
        yield started


@pytest.fixture
def other(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator, and the environment that leads there."""
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return emulator


def test_any_key_of_the_other_stores_is_listed_and_read(other: Emulator) -> None:
    objects = {f"in/{name}": name.encode() for name in ODD} | {"in/deep/c.png": b"c", "z.jpg": b"z"}
    other.fill("names", {**objects, "in/.no.jpg": b"no", "in/notes.txt": b"no"})
    allowed = limits()
    start = f"{other.scheme}://names/"
    wanted = {start + key: body for key, body in objects.items()}
    below = {uri for uri in wanted if "/in/" in uri}
    assert set(listed(f"{start}in/", allowed)) == below
    assert listed(f"{start}in", allowed) == listed(f"{start}in/", allowed)
    assert set(listed(start, allowed)) == set(wanted)
    fetcher = Fetcher(allowed)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda uri: fetcher.fetch(uri, []), wanted)
        assert list(found) == list(wanted.values())
    fetcher.close()


def test_what_an_object_of_the_other_stores_can_be_instead(other: Emulator) -> None:
    sizes = {"empty.png": b"", "just.png": bytes(1000), "large.png": bytes(1001)}
    other.fill("sizes", {**sizes, "huge.png": bytes(5 << 20)})
    allowed = limits(max_bytes=1000)
    start = f"{other.scheme}://sizes/"
    assert code(f"{start}none.png", allowed) is Code.FILE_NOT_FOUND
    assert code(f"{other.scheme}://no-such-bucket/a.png", allowed) is Code.FILE_NOT_FOUND
    assert code(f"{start}empty.png", allowed) is Code.EMPTY
    assert code(f"{start}large.png", allowed) is Code.TOO_LARGE
    assert code(f"{start}huge.png", allowed) is Code.TOO_LARGE
    assert fetched(f"{start}just.png", allowed) == bytes(1000)
    assert fetched(f"{start}huge.png", limits()) == bytes(5 << 20)
    with pytest.raises(UsageError, match="no image below"):
        listed(f"{start}none/", allowed)
    with pytest.raises(UsageError, match=r"cannot list .*: no such object"):
        listed(f"{other.scheme}://no-such-bucket/", allowed)


@pytest.mark.parametrize("emulator", ["az"], indirect=True)
def test_a_prefix_of_azure_is_listed_page_by_page(
    other: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.storeclients._PAGE", 10)
    names = [f"{number:02}.jpg" for number in range(35)]
    other.fill("pages", {f"in/{name}": b"x" for name in names})
    assert listed("az://pages/in/", limits()) == [f"az://pages/in/{name}" for name in names]
    pages = open_sources(["az://pages/in/"], limits=limits()).sources[0].read()
    assert len(next(pages).uris) == 10
    pages.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("emulator", ["az"], indirect=True)
def test_credentials_of_azure(other: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    other.fill("open", {"a.png": b"secret"})
    endpoint = other.environment["AZURE_STORAGE_CONNECTION_STRING"].split("BlobEndpoint=")[1]
    host = endpoint.removesuffix(";").removesuffix("/devstoreaccount1")
    monkeypatch.setenv(*azure_environment(host, "d3Jvbmc=").popitem())
    assert code("az://open/a.png", limits()) is Code.PERMISSION
    with pytest.raises(UsageError, match=r"cannot list az://open/: the store refuses"):
        listed("az://open/", limits())


def test_a_store_without_credentials_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("", "nonsense"):
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", given)
        assert code("az://bucket/a.png", limits()) is Code.STORE_UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (azures.ResourceNotFoundError("secret"), Code.FILE_NOT_FOUND),
        (azures.ClientAuthenticationError("secret"), Code.STORE_UNAVAILABLE),
        (azures.ServiceRequestError("secret"), Code.CONN_FAILED),
        (googles.DefaultCredentialsError("secret"), Code.STORE_UNAVAILABLE),
        (googles.RefreshError("secret"), Code.STORE_UNAVAILABLE),
        (HttpError({"code": 403, "message": "secret"}), Code.PERMISSION),
        (HttpError({"code": 503, "message": "secret"}), Code.HTTP_5XX),
        (ConnectionResetError("secret"), Code.CONN_FAILED),
        (TimeoutError("secret"), Code.TIMEOUT_TOTAL),
        (RuntimeError("secret"), Code.READ_FAILED),
    ],
)
def test_what_a_library_raises_is_told_apart_and_not_repeated(
    error: Exception, wanted: Code
) -> None:
    found = explained(error)
    assert found.code is wanted
    assert "secret" not in found.detail


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec, "filesystem", _missing)
    outcome = fetched("gs://bucket/a.png", limits())
    assert isinstance(outcome, Failure)
    assert outcome.code is Code.STORE_UNAVAILABLE
    assert "pip install 'classyard[gs]'" in outcome.detail


def _missing(*_: object, **__: object) -> None:
    raise ImportError
