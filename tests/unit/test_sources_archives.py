"""Sources: archives, WebDataset shards, Parquet tables, and folders of Hugging Face's kind."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from core.errors import ClassyardError, ManifestError, UsageError
from core.redact import redact
from core.settings import read_settings
from core.types import Failure
from producer.sources import name_of, open_sources
from tests.unit.test_fetch_archives import tarred, zipped
from worker.fetch import Fetcher


def read(*arguments: str | Path) -> list[tuple[str, Any]]:
    """The URIs of sources, each with its further columns."""
    found: list[tuple[str, Any]] = []
    for block in open_sources([str(one) for one in arguments]).blocks(2):
        found += zip(block.uris, block.extras or [None] * len(block.uris), strict=True)
    return found


def names(*arguments: str | Path) -> list[str]:
    return [uri.rpartition("!/")[2] for uri, _ in read(*arguments)]


MIXED = {
    "b.jpg": b"x", "a/deep/ö k.PNG": b"x", "notes.txt": b"x", ".hidden.jpg": b"x",
    "__MACOSX/b.jpg": b"x", ".thumbs/c.jpg": b"x", "c!/d.webp": b"x", "../up/./e.jpg": b"x",
}  # fmt: skip
LISTED = ["b.jpg", "a/deep/%C3%B6%20k.PNG", "c%21/d.webp", "../up/./e.jpg"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_gives_its_images_and_each_can_be_fetched(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"my pictures!.{kind}"
    (zipped if kind == "zip" else tarred)(path, MIXED)
    assert names(path) == LISTED
    sources = open_sources([str(path)])
    fetcher = Fetcher(read_settings().fetch_limits)
    for block in sources.blocks(10):
        for uri in block.uris:
            assert uri.startswith(f"{kind}:///")
            assert not isinstance(fetcher.fetch(uri, sources.roots), Failure)
    fetcher.close()


def test_a_glob_may_name_archives_and_manifests(tmp_path: Path) -> None:
    for number in (2, 1):
        tarred(tmp_path / f"shard-{number}.tar", {f"{number}.jpg": b"x"})
        (tmp_path / f"list-{number}.txt").write_text(f"http://h/{number}.jpg\n")
    assert names(f"{tmp_path}/shard-*.tar") == ["1.jpg", "2.jpg"]
    assert names(f"{tmp_path}/*.txt") == ["http://h/1.jpg", "http://h/2.jpg"]
    assert open_sources([f"{tmp_path}/shard-*.tar"]).roots == (tmp_path,)
    with pytest.raises(UsageError, match=r"no file matches .*\*\.zip"):
        read(f"{tmp_path}/*.zip")


def test_a_member_can_be_named_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", MIXED)
    uri = f"zip://{path}!/b.jpg"
    assert read(uri) == [(uri, None)]
    assert open_sources([uri]).roots == (tmp_path,)


def test_an_empty_archive_and_a_broken_one_end_the_command(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip", {"notes.txt": b"x"})
    with pytest.raises(UsageError, match=r"no image in .*a\.zip"):
        read(tmp_path / "a.zip")
    (tmp_path / "b.tar").write_bytes(b"no tar")
    with pytest.raises(UsageError, match="no tar archive, damaged or cut off"):
        read(tmp_path / "b.tar")
    (tmp_path / "c.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"repack it as \.zip or plain \.tar"):
        read(tmp_path / "c.tar.gz")


def test_a_webdataset_shard_keeps_the_words_beside_its_images(tmp_path: Path) -> None:
    path = tarred(
        tmp_path / "shard-000.tar",
        {
            "0001.jpg": b"x", "0001.cls": b"7\n", "0001.json": b'{"place": "Delft", "cls": 0}',
            "0002.cls": b"8", "0002.txt": "eine Kröte ".encode(), "0002.png": b"x",
            "0003.jpg": b"x", "0003.npy": b"\x93NUMPY", "0004.left.jpg": b"x",
            "0004.right.jpg": b"x", "0004.json": b"[1, 2]",
        },
    )  # fmt: skip
    assert [extra for _, extra in read(path)] == [
        {"place": "Delft", "cls": "7"},
        {"cls": "8", "txt": "eine Kröte"},
        None,
        {"json": [1, 2]},
        {"json": [1, 2]},
    ]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("1.json", b"{", "not valid JSON"),
        ("1.json", b'{"a": NaN}', "not valid JSON"),
        ("1.txt", b"\xff\xfe", "UTF-8"),
        ("1.txt", b"x" * 70_000, "at most 65,536 bytes"),
        ("1.json", b'{"a": "\\u0000"}', "NUL"),
    ],
)
def test_words_that_cannot_be_kept(name: str, content: bytes, what: str, tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", {"1.jpg": b"x", name: content})
    with pytest.raises(ManifestError, match=what):
        read(path)


def test_a_parquet_table_names_images_and_keeps_its_columns(tmp_path: Path) -> None:
    rows = {
        "uri": ["https://h/a.jpg", "b.jpg", "s3://bucket/c.jpg"],
        "taken": [datetime(2024, 5, 6, tzinfo=UTC), None, None],
        "score": [0.5, float("nan"), 1.0],
        "tags": [["x", "y"], [], None],
        "raw": [b"\0\1", None, b""],
    }
    parquet.write_table(arrow.table(rows), tmp_path / "list.parquet")
    assert read(tmp_path / "list.parquet") == [
        ("https://h/a.jpg", {"taken": "2024-05-06T00:00:00+00:00", "score": 0.5,
                             "tags": ["x", "y"], "raw": "AAE="}),
        (f"file://{tmp_path}/b.jpg", {"taken": None, "score": None, "tags": [], "raw": None}),
        ("s3://bucket/c.jpg", {"taken": None, "score": 1.0, "tags": None, "raw": ""}),
    ]  # fmt: skip


def test_any_kind_of_parquet_column(tmp_path: Path) -> None:
    columns = {
        "uri": arrow.array(["a.jpg"]).dictionary_encode(),
        "large": arrow.array(["x"], arrow.large_string()),
        "null": arrow.nulls(1),
        "nano": arrow.array([1_500], arrow.timestamp("ns", "UTC")),
        "span": arrow.array([1_500_000_001], arrow.duration("ns")),
        "inner": arrow.array([{"a": [1, None], "b": {"c": b"\0"}}]),
        "map": arrow.array([[("k", 1)]], arrow.map_(arrow.string(), arrow.int32())),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "list.parquet")
    extra = {
        "large": "x", "null": None, "nano": "1970-01-01T00:00:00.000001+00:00", "span": 1.5,
        "inner": {"a": [1, None], "b": {"c": "AA=="}}, "map": [["k", 1]],
    }  # fmt: skip
    assert read(tmp_path / "list.parquet") == [(f"file://{tmp_path}/a.jpg", extra)]


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    for table, what in (
        ({"image": [{"bytes": b"x", "path": "a"}]}, "pictures are inside this table"),
        ({"path": ["a.jpg"]}, "no column uri; there are: path"),
        ({"uri": ["a.jpg", None]}, 'line 2: "uri" is not a text'),
        ({"uri": ["a.jpg", ""]}, "line 2: the URI is empty"),
    ):
        parquet.write_table(arrow.table(table), tmp_path / "t.parquet")
        with pytest.raises(ManifestError, match=what):
            read(tmp_path / "t.parquet")
    for column in (arrow.array([2**60], arrow.timestamp("us")), arrow.array([2**30], arrow.date32()),
                   arrow.array([1], arrow.timestamp("us", "Mars/Base"))):  # fmt: skip
        parquet.write_table(arrow.table({"uri": ["a.jpg"], "t": column}), tmp_path / "t.parquet")
        with pytest.raises(ManifestError, match="line 1: a moment that cannot be kept"):
            read(tmp_path / "t.parquet")
    twice = arrow.table([["a.jpg"], ["1"], ["2"]], names=["uri", "x", "x"])
    parquet.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match="the column 'x' is there twice"):
        read(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(ManifestError, match="no Parquet file"):
        read(tmp_path / "t.parquet")


METADATA = {
    "csv": "file_name,caption\nb.jpg,a toad\nsub/c.jpg,a fish\ngone.jpg,not there\n",
    "jsonl": "".join(
        json.dumps({"file_name": name, "caption": text}) + "\n"
        for name, text in (("b.jpg", "a toad"), ("sub/c.jpg", "a fish"), ("gone.jpg", "not there"))
    ),
}


@pytest.mark.parametrize("kind", METADATA)
@pytest.mark.parametrize("split", ["", "train"])
def test_metadata_beside_the_images_says_more_about_them(
    kind: str, split: str, tmp_path: Path
) -> None:
    folder = tmp_path / split
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (folder / name).touch()
    (folder / f"metadata.{kind}").write_text(METADATA[kind])
    wanted = [
        ("a.jpg", None), ("b.jpg", {"caption": "a toad"}), ("sub/c.jpg", {"caption": "a fish"}),
        ("gone.jpg", {"caption": "not there"}),
    ]  # fmt: skip
    assert read(tmp_path) == [(f"{folder.as_uri()}/{name}", extra) for name, extra in wanted]
    assert {uri for uri, _ in read(folder / f"metadata.{kind}")} == {
        f"{folder.as_uri()}/{name}" for name, _ in wanted[1:]
    }


def test_a_table_too_large_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.sources.metadata.MOST_ROWS", 2)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "metadata.csv").write_text(METADATA["csv"])
    with pytest.raises(UsageError, match="name the table itself"):
        read(tmp_path)


def test_a_data_uri_is_a_source_and_never_shown() -> None:
    uri = "data:image/png;base64,iVBORw0KGgo="
    assert read(uri) == [(uri, None)]
    assert open_sources([uri]).description == name_of(uri) == "data:…"
    assert redact(f"cannot read {uri} now") == "cannot read data:… now"


def test_stores_are_not_listed_without_their_settings() -> None:
    with pytest.raises(ClassyardError, match="not listed here"):
        open_sources(["s3://bucket/prefix/"])
    limits = read_settings().fetch_limits
    with pytest.raises(UsageError, match="know no globs"):
        open_sources(["s3://bucket/2024*/"], limits=limits)
    uri = "s3://bucket/a b/c.jpg"
    assert [block.uris for block in open_sources([uri]).blocks(1)] == [[uri]]


def test_zip64_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = zipped(tmp_path / "a.zip", {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"})
    assert b"PK\x06\x07" in path.read_bytes()
    assert names(path) == ["a.jpg", "b.jpg", "c.jpg"]
