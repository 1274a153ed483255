"""Fetch: members of archives and pictures inside their URI, honest and hostile."""

from __future__ import annotations

import base64
import gzip
import io
import os
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core import archives
from core.errors import Code
from core.settings import read_settings
from core.types import Failure
from worker.fetch import Fetcher

#: More than a member may have.
MOST = 100_000


@pytest.fixture
def fetch() -> Iterator[Callable[..., bytes | Failure]]:
    fetcher = Fetcher(read_settings(max_bytes=MOST, fetch_tries=1).fetch_limits)
    yield fetcher.fetch
    fetcher.close()


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], **how: Any) -> Path:
    with tarfile.open(path, "w", **how) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def made(folder: Path, kind: str, files: dict[str, bytes]) -> Path:
    path = folder / f"a.{kind}"
    return zipped(path, files) if kind == "zip" else tarred(path, files)


def uri(path: Path, name: str, kind: str = "") -> str:
    return f"{kind or path.suffix[1:]}://{path}!/{name}"


def refused(outcome: bytes | Failure, code: Code, word: str = "") -> None:
    assert isinstance(outcome, Failure), outcome
    assert outcome.code is code, outcome
    assert word in outcome.detail, outcome


@pytest.mark.parametrize("kind", archives.KINDS)
def test_a_member_is_its_bytes(kind: str, tmp_path: Path, fetch: Any) -> None:
    files = {"cat.jpg": b"a cat", "far/below/dög & co.png": os.urandom(5000), "twice.jpg": b"1"}
    path = made(tmp_path, kind, files)
    assert fetch(uri(path, "cat.jpg"), [tmp_path]) == b"a cat"
    escaped = "far/below/d%C3%B6g%20%26%20co.png"
    assert fetch(uri(path, escaped), [tmp_path]) == files["far/below/dög & co.png"]


@pytest.mark.parametrize("kind", archives.KINDS)
def test_what_is_not_there_and_what_is_empty(kind: str, tmp_path: Path, fetch: Any) -> None:
    path = made(tmp_path, kind, {"empty.jpg": b"", "a.jpg": b"x"})
    refused(fetch(uri(path, "none.jpg"), [tmp_path]), Code.FILE_NOT_FOUND, "no such member")
    refused(fetch(uri(path, "../a.jpg"), [tmp_path]), Code.FILE_NOT_FOUND)
    refused(fetch(uri(path, "empty.jpg"), [tmp_path]), Code.EMPTY)
    refused(fetch(uri(tmp_path / f"b.{kind}", "a.jpg"), [tmp_path]), Code.FILE_NOT_FOUND)
    refused(fetch(f"{kind}://{path}", [tmp_path]), Code.URI_INVALID, "!/name")
    refused(fetch(f"{kind}://host{path}!/a.jpg", [tmp_path]), Code.URI_INVALID)


@pytest.mark.parametrize("kind", archives.KINDS)
def test_the_archive_lies_where_files_may_lie(kind: str, tmp_path: Path, fetch: Any) -> None:
    (inside := tmp_path / "in").mkdir()
    path = made(tmp_path, kind, {"a.jpg": b"x"})
    (inside / f"link.{kind}").symlink_to(path)
    refused(fetch(uri(path, "a.jpg"), [inside]), Code.PATH_FORBIDDEN)
    refused(fetch(uri(inside / f"link.{kind}", "a.jpg"), [inside]), Code.PATH_FORBIDDEN)
    refused(fetch(uri(path, "a.jpg"), []), Code.PATH_FORBIDDEN)
    os.mkfifo(inside / f"pipe.{kind}")
    refused(fetch(uri(inside / f"pipe.{kind}", "a.jpg"), [inside]), Code.NOT_A_FILE)


@pytest.mark.parametrize("kind", archives.KINDS)
def test_a_member_is_bounded(kind: str, tmp_path: Path, fetch: Any) -> None:
    path = made(tmp_path, kind, {"large.jpg": bytes(MOST + 1), "just.jpg": bytes(MOST)})
    refused(fetch(uri(path, "large.jpg"), [tmp_path]), Code.TOO_LARGE, str(MOST))
    assert fetch(uri(path, "just.jpg"), [tmp_path]) == bytes(MOST)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path, fetch: Any) -> None:
    path = zipped(tmp_path / "a.zip", {"bomb.jpg": bytes(50 << 20)})
    data = path.read_bytes()
    for sign, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(sign) + at
        data = data[:place] + struct.pack("<I", 1000) + data[place + 4 :]
    path.write_bytes(data)
    refused(fetch(uri(path, "bomb.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "damaged")


@pytest.mark.parametrize("kind", archives.KINDS)
def test_links_and_devices_are_refused(kind: str, tmp_path: Path, fetch: Any) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(link, "/etc/passwd")
    else:
        with tarfile.open(path, "w") as archive:
            for name, type_ in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE),
                                ("fifo.jpg", tarfile.FIFOTYPE)):  # fmt: skip
                info = tarfile.TarInfo(name)
                info.type, info.linkname = type_, "/etc/passwd"
                archive.addfile(info)
        for name in ("hard.jpg", "fifo.jpg"):
            refused(fetch(uri(path, name), [tmp_path]), Code.ARCHIVE_INVALID, "link")
    refused(fetch(uri(path, "link.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "link")


def test_what_zip_can_do_and_we_do_not(tmp_path: Path, fetch: Any) -> None:
    path = zipped(tmp_path / "a.zip", {"a.jpg": b"x" * 100}, zipfile.ZIP_LZMA)
    refused(fetch(uri(path, "a.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "deflate")
    path = zipped(tmp_path / "b.zip", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(fetch(uri(path, "a.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "encrypted")


@pytest.mark.parametrize("kind", archives.KINDS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"no archive at all" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-30] if data[:2] == b"PK" else data[:700],
        gzip.compress,
    ],
    ids=["noise", "half", "cut", "gzip"],
)
def test_damaged_archives(
    kind: str, damage: Callable[[bytes], bytes], tmp_path: Path, fetch: Any
) -> None:
    path = made(tmp_path, kind, {f"{n}.jpg": os.urandom(900) for n in range(5)})
    path.write_bytes(damage(path.read_bytes()))
    refused(fetch(uri(path, "4.jpg"), [tmp_path]), Code.ARCHIVE_INVALID)


def test_a_wrong_checksum(tmp_path: Path, fetch: Any) -> None:
    path = zipped(tmp_path / "a.zip", {"a.jpg": b"good bytes"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"good bytes", b"evil bytes"))
    refused(fetch(uri(path, "a.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "checksum")


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path, fetch: Any) -> None:
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    path = tmp_path / "a.tar"
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(1 << 34)  # sparse: takes no room
    refused(fetch(uri(path, "a.jpg"), [tmp_path]), Code.ARCHIVE_INVALID)


def test_too_many_members(tmp_path: Path, fetch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    for kind in archives.KINDS:
        path = made(tmp_path, kind, {f"{n}.jpg": b"x" for n in range(4)})
        refused(fetch(uri(path, "0.jpg"), [tmp_path]), Code.ARCHIVE_INVALID, "split")


def test_an_archive_that_is_replaced_is_read_anew(tmp_path: Path, fetch: Any) -> None:
    path = tarred(tmp_path / "a.tar", {"a.jpg": b"old"})
    assert fetch(uri(path, "a.jpg"), [tmp_path]) == b"old"
    tarred(tmp_path / "b.tar", {"first.jpg": b"x" * 2000, "a.jpg": b"new"}).replace(path)
    assert fetch(uri(path, "a.jpg"), [tmp_path]) == b"new"


def test_the_directory_is_read_once_for_many_threads(
    tmp_path: Path, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{n}.jpg": os.urandom(300) for n in range(200)}
    path = tarred(tmp_path / "a.tar", files)
    calls: list[int] = []
    listed = archives.members

    def counted(*args: Any) -> Any:
        calls.append(threading.get_ident())
        return listed(*args)

    monkeypatch.setattr(archives, "members", counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: fetch(uri(path, name), [tmp_path]), files))
    assert found == list(files.values())
    assert len(calls) == 1


def test_a_picture_inside_its_uri(fetch: Any) -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    assert fetch(f"data:image/png;base64,{data}", []) == b"\x89PNG"
    assert fetch(f"data:image/png;base64,{data.rstrip('=')}", []) == b"\x89PNG"
    assert fetch("data:,a%20b", []) == b"a b"
    refused(fetch("data:image/png;base64,iVBOR", []), Code.URI_INVALID, "base64")
    refused(fetch("data:image/png;base64", []), Code.URI_INVALID)
    refused(fetch("data:image/png;base64,!!!", []), Code.URI_INVALID, "base64")
    refused(fetch("data:,", []), Code.EMPTY)
    refused(fetch("data:," + "x" * 9000, []), Code.URI_INVALID, "too long")
