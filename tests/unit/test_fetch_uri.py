from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Code
from core.limits import FetchLimits
from worker.fetch.refusal import Refused
from worker.fetch.uri import URI_LIMIT, FilePath, HttpUrl, parse

LIMITS = FetchLimits(
    schemes=frozenset({"file", "http", "https"}),
    ports=frozenset({80, 443}),
    networks=(),
    roots=(),
    max_bytes=1000,
    connect_timeout=1,
    read_timeout=1,
    total_timeout=1,
    min_rate=0,
    max_redirects=3,
    tries=1,
    per_host=1,
    user_agent="test",
)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b.jpg", b"/a/b.jpg"),
        ("FILE:///a/b.jpg", b"/a/b.jpg"),
        ("file://localhost/a/b.jpg", b"/a/b.jpg"),
        ("file:/a/b.jpg", b"/a/b.jpg"),
        ("file:///a/with%20blank%23%3F.jpg", b"/a/with blank#?.jpg"),
        ("file:///a/with blank.jpg", b"/a/with blank.jpg"),
        ("file:///a/%ff%FE.jpg", b"/a/\xff\xfe.jpg"),
        ("file:///a/\udcff.jpg", b"/a/\xff.jpg"),
        ("file:///a/%2541.jpg", b"/a/%41.jpg"),
        ("file:///a/\u00e4.jpg", "/a/\u00e4.jpg".encode()),
    ],
)
def test_file_uris_are_decoded_once(uri: str, path: bytes) -> None:
    assert parse(uri, LIMITS) == FilePath(path)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://example.com", HttpUrl("http", "example.com", 80, "/")),
        ("HTTPS://Example.COM./x?y=1#z", HttpUrl("https", "example.com", 443, "/x?y=1")),
        ("http://example.com:443/x", HttpUrl("http", "example.com", 443, "/x")),
        ("http://example.com?q", HttpUrl("http", "example.com", 80, "/?q")),
        ("http://b\u00fccher.example/", HttpUrl("http", "xn--bcher-kva.example", 80, "/")),
        ("http://h/a b/\u00e4%20%zz", HttpUrl("http", "h", 80, "/a%20b/%C3%A4%20%zz")),
        ("http://[::1]/", HttpUrl("http", "::1", 80, "/")),
        ("http://a_b.example/", HttpUrl("http", "a_b.example", 80, "/")),
    ],
)
def test_http_uris_become_ascii(uri: str, url: HttpUrl) -> None:
    assert parse(uri, LIMITS) == url


def test_an_address_is_spelled_as_the_host_header_wants_it() -> None:
    assert str(HttpUrl("http", "::1", 443, "/x")) == "http://[::1]:443/x"
    assert str(HttpUrl("https", "h", 443, "/x")) == "https://h/x"


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("", Code.URI_INVALID),
        ("  \t", Code.URI_INVALID),
        (" http://h/", Code.URI_INVALID),
        ("http://h/\n", Code.URI_INVALID),
        ("http://h/\x00", Code.URI_INVALID),
        ("http://h/a\r\nHost: x", Code.URI_INVALID),
        ("http://h/" + "x" * URI_LIMIT, Code.URI_INVALID),
        ("file:///a%00b", Code.URI_INVALID),
        ("file:///a?b", Code.URI_INVALID),
        ("file:///a#b", Code.URI_INVALID),
        ("file:a.jpg", Code.URI_INVALID),
        ("file:", Code.URI_INVALID),
        ("file://", Code.URI_INVALID),
        ("file://server/share/a.jpg", Code.URI_INVALID),
        ("file:///a\ud800.jpg", Code.URI_INVALID),
        ("http://", Code.URI_INVALID),
        ("http:///x", Code.URI_INVALID),
        ("http://h:x/", Code.URI_INVALID),
        ("http://h:99999/", Code.URI_INVALID),
        ("http://[::1/", Code.URI_INVALID),
        ("http://[fe80::1%25eth0]/", Code.URI_INVALID),
        ("http://a..b/", Code.URI_INVALID),
        ("http://.a/", Code.URI_INVALID),
        ("http://a%2eb/", Code.URI_INVALID),
        ("http://good.example\\.evil.example/", Code.URI_INVALID),
        ("http://" + "a" * 64 + ".example/", Code.URI_INVALID),
        ("http://" + "a." * 150 + "example/", Code.URI_INVALID),
        ("http://h/\ud800", Code.URI_INVALID),
        ("/a/b.jpg", Code.URI_SCHEME),
        ("\\\\server\\share\\a.jpg", Code.URI_SCHEME),
        ("C:\\a.jpg", Code.URI_SCHEME),
        ("ftp://h/x", Code.URI_SCHEME),
        ("gopher://h/x", Code.URI_SCHEME),
        ("data:image/png;base64,AAAA", Code.URI_SCHEME),
        ("javascript:alert(1)", Code.URI_SCHEME),
        ("http://user@h/", Code.URI_FORBIDDEN),
        ("http://user:secret@h/", Code.URI_FORBIDDEN),
        ("http://@h/", Code.URI_FORBIDDEN),
        ("http://h:22/", Code.URI_FORBIDDEN),
        ("http://h:0/", Code.URI_FORBIDDEN),
    ],
)
def test_other_uris_are_refused(uri: str, code: Code) -> None:
    with pytest.raises(Refused) as caught:
        parse(uri, LIMITS)
    assert caught.value.code is code
    assert "secret" not in caught.value.detail


def test_a_refused_scheme_says_which_are_allowed() -> None:
    with pytest.raises(Refused) as caught:
        parse("ftp://h/x", LIMITS)
    assert caught.value.detail == "scheme 'ftp' is not allowed; allowed: file, http, https"


@given(st.text(max_size=60) | st.from_regex(r"(http|https|file)://.{0,40}", fullmatch=True))
def test_any_text_is_parsed_or_refused(uri: str) -> None:
    try:
        place = parse(uri, LIMITS)
    except Refused:
        return
    if isinstance(place, HttpUrl):
        assert parse(str(place), LIMITS) == place
