from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ManifestError
from producer.sources import manifests
from producer.sources.extras import DEPTH_LIMIT, EXTRA_LIMIT
from producer.sources.text import LINE_LIMIT
from producer.sources.uris import URI_LIMIT, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producer.sources import Block

    Reader = Callable[[BinaryIO, str, str], Iterator[Block]]

READERS: dict[str, Reader] = {
    "txt": manifests.read_txt,
    "csv": manifests.read_csv,
    "jsonl": manifests.read_jsonl,
    "pipe": manifests.read_pipe,
}


def read(kind: str, text: bytes | str) -> list[tuple[str, dict[str, Any] | None]]:
    stream = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    return [
        row
        for block in READERS[kind](stream, f"m.{kind}", "/base")
        for row in zip(block.uris, block.extras or [None] * len(block.uris), strict=True)
    ]


@pytest.mark.parametrize(
    ("kind", "text", "rows"),
    [
        ("txt", "", []),
        ("txt", "http://h/1", [("http://h/1", None)]),
        ("txt", "\n# no\n  http://h/1 \t\r\n\r\n \t\n/a.jpg\n", [("http://h/1", None), ("file:///a.jpg", None)]),
        ("txt", "#a\tb\n #c\n", [("file:///base/%23c", None)]),
        ("txt", "# " + "x" * 9000 + "\na\n", [("file:///base/a", None)]),
        ("txt", "http://h/a#b\nftp://h/x\nC:\\x.jpg", [("http://h/a#b", None), ("ftp://h/x", None), ("C:\\x.jpg", None)]),
        ("txt", "a\u2028b\n", [("file:///base/a%E2%80%A8b", None)]),
        ("txt", b"\xef\xbb\xbfhttp://h/1\n", [("http://h/1", None)]),
        ("csv", "uri\n", []),
        ("csv", "uri\nhttp://h/1\n\n a.jpg \n", [("http://h/1", None), ("file:///base/a.jpg", None)]),
        ("csv", "n,uri,\r\n1,http://h/1,\r\n", [("http://h/1", {"n": "1", "": ""})]),
        ("csv", b"\xef\xbb\xbf\n\"uri\",a\nhttp://h/1,\"x\n\"\"y\"\"\r\n,\"", [("http://h/1", {"a": 'x\n"y"\r\n,'})]),
        ("jsonl", "", []),
        ("jsonl", b'\xef\xbb\xbf{"uri": " http://h/1 "}\r\n\n "a.jpg" \n', [("http://h/1", None), ("file:///base/a.jpg", None)]),
        ("jsonl", '{"n": [1, null, {"x": 1.5}], "uri": "http://h/1", "t": "\\u00e9\\n"}', [("http://h/1", {"n": [1, None, {"x": 1.5}], "t": "é\n"})]),
        ("jsonl", '{"uri": "http://h/1", "t": "\\\\u0000"}', [("http://h/1", {"t": "\\u0000"})]),
        ("jsonl", '"caf\\u00e9"', [("file:///base/caf%C3%A9", None)]),
        ("pipe", "", []),
        ("pipe", " \n\n", []),
        ("pipe", "\n\n {\"uri\": \"a\"}\n\"b\"", [("file:///base/a", None), ("file:///base/b", None)]),
        ("pipe", "# x\na\n{b\n", [("file:///base/a", None), ("file:///base/%7Bb", None)]),
    ],
)  # fmt: skip
def test_read(kind: str, text: str | bytes, rows: list[tuple[str, Any]]) -> None:
    assert read(kind, text) == rows


DEEP = "[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT


@pytest.mark.parametrize(
    ("kind", "text", "line", "message"),
    [
        ("txt", b"a\n\xff\n", 2, "not UTF-8"),
        ("txt", b"a\n\xed\xa0\x80\n", 2, "not UTF-8"),
        ("txt", "a\nb\x00c", 2, "NUL"),
        ("txt", "a\n\n#\x01\nb\x01c", 4, "control character"),
        ("txt", "a\r\n\r\nb\tc", 3, "control character"),
        ("txt", "a\rb\rc", 1, "control character"),
        ("txt", "a\nb\x85", 2, "control character"),
        ("txt", "a\n" + "x" * (URI_LIMIT + 1), 2, "8193 characters; at most 8192"),
        ("txt", "a\n" + "x" * (2 * LINE_LIMIT), 2, "longer than"),
        ("txt", "a\n".encode("utf-16"), 1, "UTF-16"),
        ("csv", "", 1, "no header"),
        ("csv", "\n\n", 1, "no header"),
        ("csv", "URI,a\nx,1\n", 1, "no column uri in the header: URI,a"),
        ("csv", "\nuri;a\nx;1\n", 2, "no column uri in the header: uri;a"),
        ("csv", "uri,a,a\n", 1, "'a' is there twice"),
        ("csv", "uri,a\nx,1\ny\n", 3, "1 fields where the header has 2"),
        ("csv", 'uri,a\nx,"1\n2"\ny,1,2\n', 4, "3 fields where the header has 2"),
        ("csv", 'uri,a\nx,1\n"y"z,2\n', 3, "not valid CSV"),
        ("csv", 'uri,a\nx,1\n\ny,"2\n3\n4', 4, "not valid CSV: unexpected end of data"),
        ("csv", "uri,a\nx\ry,2\n", 2, "not valid CSV"),
        ("csv", "uri,a\nx,1\n ,2\n", 3, "URI is empty"),
        ("csv", 'uri\n"a\nb"\n', 2, "control character"),
        ("csv", 'uri\na\n"' + "x\n" * 70_000, 3, "not valid CSV: field larger"),
        ("csv", 'uri\na\n"\n' + '","\n' * 300_000, 3, "a row of more than"),
        ("csv", "uri,a,b\n1,2,3\nx," + ("y" * 40_000 + ",") + "z" * 40_000, 3, "further columns"),
        ("jsonl", '"a"\n\n{"uri": "b"', 3, "not valid JSON: Expecting ',' delimiter at column 12"),
        ("jsonl", '"a"\n# no', 2, "not valid JSON"),
        ("jsonl", '{"uri": "a"} {"uri": "b"}', 1, "Extra data"),
        ("jsonl", '{"URI": "a"}', 1, 'no key "uri"'),
        ("jsonl", '{"uri": null}', 1, "not a string"),
        ("jsonl", '["a"]', 1, "neither a JSON object nor a string"),
        ("jsonl", "12", 1, "neither a JSON object nor a string"),
        ("jsonl", '""', 1, "URI is empty"),
        ("jsonl", '"a\\nb"', 1, "control character"),
        ("jsonl", '"a\\ud800b"', 1, "control character"),
        ("jsonl", '{"uri": "a", "n": NaN}', 1, "NaN is not a JSON value"),
        ("jsonl", '{"uri": "a", "n": -1e999}', 1, "too large"),
        ("jsonl", '{"uri": "a", "n": %s}' % ("9" * 5000), 1, "not valid JSON"),
        ("jsonl", '{"uri": "a", "n": "\\u0000"}', 1, "a value holds a NUL"),
        ("jsonl", '{"uri": "a", "\\u0000": 1}', 1, "a value holds a NUL"),
        ("jsonl", '{"uri": "a", "n": "\\\\\\u0000"}', 1, "a value holds a NUL"),
        ("jsonl", '{"uri": "a", "n": "\\udc80"}', 1, "surrogate"),
        ("jsonl", '{"uri": "a", "n": ' + DEEP + "}", 1, "nested deeper than 32"),
        ("jsonl", "[" * 100_000, 1, "nested too deeply"),
        ("jsonl", '{"uri": "a", "n": "%s"}' % ("x" * EXTRA_LIMIT), 1, "bytes; at most 65536"),
        ("jsonl", '{"uri": "a", "n": "%s"}' % ("é" * (EXTRA_LIMIT // 2)), 1, "bytes; at most 65536"),
        ("pipe", '\n{"uri": "a"}\nb', 3, "not valid JSON"),
    ],
    ids=lambda value: str(value)[:30].encode("unicode_escape").decode(),
)  # fmt: skip
def test_wrong_line_is_named(kind: str, text: str | bytes, line: int, message: str) -> None:
    with pytest.raises(ManifestError) as raised:
        read(kind, text)
    found = str(raised.value)
    assert found.startswith(f"m.{kind}: line {line}: ")
    assert message in found
    assert "\n" not in found


def test_extras_at_the_limits_are_kept() -> None:
    assert read("jsonl", '{"uri": "http://h/", "n": "%s"}' % ("x" * (EXTRA_LIMIT - 8)))
    assert read("jsonl", '{"uri": "http://h/", "n": ' + DEEP[1:-1] + "}")
    assert read("txt", "x" * URI_LIMIT)


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_line_numbers_hold_in_long_manifests(kind: str) -> None:
    """The wrong line lies batches behind the first one."""
    header = "uri\n" if kind == "csv" else ""
    row = '"http://h/%06d"\n' if kind == "jsonl" else "http://h/%06d\n"
    good = header + "".join(row % number for number in range(50_000))
    rows = read(kind, good)
    assert rows == [(f"http://h/{number:06d}", None) for number in range(50_000)]
    bad = {"txt": "b\x01d", "csv": "b,d", "jsonl": "bad"}[kind]
    with pytest.raises(ManifestError, match=f"line {50_001 + bool(header)}: "):
        read(kind, f"{good}{bad}\n{good}")


def test_reading_is_lazy_and_bounded() -> None:
    class Endless(io.RawIOBase):
        """A pipe that never ends."""

        taken = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= LINE_LIMIT
            self.taken += size
            return b"http://h/\n" * (size // 10)

    stream = Endless()
    rows = manifests.read_txt(stream, "pipe", "/")  # type: ignore[arg-type]
    assert next(rows).uris[0] == "http://h/"
    assert stream.taken <= LINE_LIMIT


def test_reading_that_fails_says_where() -> None:
    class Broken(io.BytesIO):
        """A disk that fails after the first lines."""

        def read(self, size: int | None = -1) -> bytes:
            if data := super().read(size):
                return data
            raise OSError(5, "Input/output error")

    with pytest.raises(ManifestError, match="m: line 1: cannot be read: Input/output error"):
        list(manifests.read_txt(Broken(b"a\nb\nc"), "m", "/"))


locations = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=" "), min_size=1, max_size=30
).map("http://h/{}".format)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(locations), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_txt_round_trip(uris: list[str], end: str, bom: bool) -> None:
    text = end.join(uris).encode("utf-8-sig" if bom else "utf-8")
    assert read("txt", text) == read("pipe", text) == [(uri, None) for uri in uris]


@given(st.lists(st.tuples(texts, locations, texts)), st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trip(rows: list[tuple[str, str, str]], end: str) -> None:
    written = io.StringIO(newline="")
    table = csv.writer(written, lineterminator=end, quoting=csv.QUOTE_ALL)
    table.writerows([("a", "uri", "b, c"), *rows])
    expected = [(uri, {"a": a, "b, c": b}) for a, uri, b in rows]
    assert read("csv", written.getvalue()) == expected


@given(st.lists(st.tuples(locations, st.dictionaries(texts, values, max_size=4))), st.booleans())
def test_jsonl_round_trip(rows: list[tuple[str, dict[str, Any]]], ascii_only: bool) -> None:
    for _, extra in rows:
        extra.pop("uri", None)
    text = "\n".join(
        json.dumps({"uri": uri, **extra}, ensure_ascii=ascii_only) for uri, extra in rows
    )
    expected = [(uri, extra or None) for uri, extra in rows]
    assert read("jsonl", text) == read("pipe", text) == expected


pieces = st.sampled_from(
    [b"uri", b",", b'"', b"\n", b"\r", b"\r\n", b"{", b"}", b"[", b":", b"\\u0000", b"\\ud800", b"\0",
     b"\xff", b"\xc2\x85", b"\xef\xbb\xbf", b"#", b" ", b"\t", b"1e999", b"/../", b"http://", b"a"]
)  # fmt: skip
manifest_bytes = st.binary(max_size=200) | st.lists(pieces, max_size=30).map(b"".join)


@given(manifest_bytes, st.sampled_from(["", "uri\n", 'uri,a\nx,"', '{"uri":"']))
def test_any_bytes_are_read_or_refused_with_a_line(data: bytes, start: str) -> None:
    for kind in READERS:
        refusal = ""
        rows: list[Any] = []
        try:
            rows = read(kind, start.encode() + data)
        except ManifestError as error:
            refusal = str(error)
        assert not refusal or (refusal.startswith(f"m.{kind}: line ") and refusal.isprintable())
        assert not any(fault_of(uri) for uri, _ in rows)
        assert json.dumps(rows, allow_nan=False, ensure_ascii=False).encode()
