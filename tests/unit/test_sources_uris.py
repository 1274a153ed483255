from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.sources.uris import (
    absolute,
    fault_of,
    file_uris,
    located,
    name_of,
    path_of,
    scheme_of,
    uri_of,
)

#: Any name that Linux allows, also such as is not UTF-8.
file_names = (
    st.binary(min_size=1, max_size=40)
    .filter(lambda name: not set(name) & {0, ord("/")} and name not in {b".", b".."})
    .map(os.fsdecode)
)


@given(st.lists(file_names, min_size=1, max_size=4))
def test_uri_is_what_pathlib_says_and_leads_back(names: list[str]) -> None:
    path = Path("/", *names)
    assert uri_of(path) == path.as_uri()
    assert path_of(uri_of(path)) == path


@given(st.lists(st.lists(file_names, min_size=1, max_size=3).map(lambda n: "/" + "/".join(n))))
def test_uris_in_one_go_are_those_made_one_by_one(paths: list[str]) -> None:
    assert file_uris(paths) == [Path(path).as_uri() for path in paths]


def test_relative_path_is_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert uri_of(Path("a b.jpg")) == (tmp_path / "a b.jpg").as_uri()


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("a.jpg", "file:///base/a.jpg"),
        ("./sub//a.jpg", "file:///base/sub/a.jpg"),
        ("sub/.", "file:///base/sub"),
        ("sub/", "file:///base/sub"),
        ("../a.jpg", "file:///a.jpg"),
        ("/x/../a.jpg", "file:///a.jpg"),
        ("//x/a.jpg", "file:///x/a.jpg"),
        ("/x/..", "file:///"),
        ("..jpg/...", "file:///base/..jpg/..."),
        ("~/a.jpg", "file:///base/~/a.jpg"),
        ("100%.jpg", "file:///base/100%25.jpg"),
        ("a?b#c.jpg", "file:///base/a%3Fb%23c.jpg"),
        ("café/猫.jpg", "file:///base/caf%C3%A9/%E7%8C%AB.jpg"),
        ("cam1:0042.jpg", "file:///base/cam1%3A0042.jpg"),
        ("http://h/a b.jpg?x=%2F#f", "http://h/a b.jpg?x=%2F#f"),
        ("HTTPS://h/a.jpg", "HTTPS://h/a.jpg"),
        ("file:///a/../b.jpg", "file:///a/../b.jpg"),
        ("ftp://h/a.jpg", "ftp://h/a.jpg"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA"),
        (r"C:\pictures\a.jpg", r"C:\pictures\a.jpg"),
        (r"\\server\share\a.jpg", r"\\server\share\a.jpg"),
    ],
)
def test_located(name: str, uri: str) -> None:
    assert located([name], "/base") == [uri]
    assert located(["http://h/1", name, "2.jpg"], "/base/") == [
        "http://h/1",
        uri,
        "file:///base/2.jpg",
    ]


def test_dots_follow_links_as_the_system_does(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    assert absolute("link/../a.jpg", str(tmp_path)) == str(tmp_path.resolve() / "real/a.jpg")
    assert absolute("link/a.jpg", str(tmp_path)) == str(tmp_path / "link/a.jpg")


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("https://h/x", "https"),
        ("S3://bucket/x", "s3"),
        ("file:/x", "file"),
        ("data:,x", "data"),
        (r"c:\x", ""),
        ("/x", None),
        ("a:b.jpg", None),
        ("12:30.jpg", None),
        ("", None),
    ],
)
def test_scheme(text: str, scheme: str | None) -> None:
    assert scheme_of(text) == scheme


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///a/b%20c.jpg", "b c.jpg"),
        ("file:///a/%FF.jpg", "\N{REPLACEMENT CHARACTER}.jpg"),
        ("file:///a/%1B%5B31m.jpg", "[31m.jpg"),
        ("https://h/p/cat.jpg?X-Amz-Signature=secret", "cat.jpg"),
        ("https://h/p/cat.jpg#secret", "cat.jpg"),
        ("https://h/p/?sig=a/secret", "p"),
        ("https://user:secret@h?secret", "h"),
        ("https://user:secret@h/", "h"),
        ("s3://bucket/key/a.png", "a.png"),
        ("data:image/png;base64,secret", "data:…"),
        ("http:secret", "http:…"),
        (r"C:\pictures\a.jpg", "a.jpg"),
        ("pictures/a.jpg", "a.jpg"),
        ("", ""),
        ("https://h/" + "x" * 500, "x" * 119 + "…"),
    ],
)
def test_name_is_short_and_tells_no_secret(uri: str, name: str) -> None:
    assert name_of(uri) == name


@given(st.text())
def test_name_of_anything_is_one_bounded_line(text: str) -> None:
    for uri in (text, f"https://h/{text}", f"file:///{text}"):
        name = name_of(uri)
        assert len(name) <= 120
        assert not name or name.isprintable()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%20c?x#y", Path("/a/b c")),
        ("FILE://localhost/a", Path("/a")),
        ("file://elsewhere/a", None),
        ("file:///a%00b", None),
        ("https:///a", None),
    ],
)
def test_path_of(uri: str, path: Path | None) -> None:
    assert path_of(uri) == path


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("/a.jpg", None),
        ("x" * 8192, None),
        ("x" * 8193, "8193 characters"),
        ("", "empty"),
        ("a\x00b", "control character"),
        ("a\x85b", "control character"),
        ("a\ud800b", "control character"),
    ],
)
def test_fault(uri: str, fault: str | None) -> None:
    found = fault_of(uri)
    assert found is None if fault is None else fault in (found or "")
