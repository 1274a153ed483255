"""What a URI names, parsed once: a file, a member, an object, an address, or the picture itself.

Touches neither disk nor network.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from core.archives import KINDS, MARK, Kind
from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from core.limits import FetchLimits

#: Longest URI read at all, in characters.
URI_LIMIT: Final = 8192

_PORTS: Final = {"http": 80, "https": 443}
#: Object stores, whose libraries are extras.
STORES: Final = ("s3", "gs", "az")
_KNOWN: Final = frozenset({"file", "data", *_PORTS, *KINDS, *STORES})
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}|\$(?:web|root)")  # $: Azure's own
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}):")
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_DEVIATING: Final = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")  # ß, ẞ, ς, joiners
_IPV6: Final = re.compile(r"[0-9a-f:.]+")
#: Every ASCII character that a request line may carry as it is; `%` stays, it is an escape already.
VERBATIM: Final = "".join(chr(code) for code in range(0x21, 0x7F))


@dataclass(frozen=True, slots=True)
class FilePath:
    """A file's path, as bytes: names need not be UTF-8."""

    path: bytes


@dataclass(frozen=True, slots=True)
class MemberOf:
    """A member of an archive: the archive's path, as bytes, and the member's name."""

    kind: Kind
    path: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Inline:
    """The picture itself, as `data:` URIs carry it."""

    content: bytes


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """An object in a store. The key is verbatim: these URIs know no escapes and no query."""

    scheme: str
    bucket: str
    key: str


#: Whatever a URI may name.
Place: TypeAlias = "FilePath | MemberOf | Inline | ObjectKey | HttpUrl"


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """An HTTP address. Host and target are ASCII; the host has no brackets and no final dot."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as the Host header spells them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse(uri: str, limits: FetchLimits) -> Place:
    """Return the place that `uri` names.

    Raises:
        Refused: URI_INVALID, URI_SCHEME or URI_FORBIDDEN.
    """
    if not uri or uri.isspace():
        raise Refused(Code.URI_INVALID, "the URI is empty")
    if len(uri) > URI_LIMIT:
        raise Refused(Code.URI_INVALID, f"the URI is too long ({len(uri)} > {URI_LIMIT})")
    if _CONTROL.search(uri):
        raise Refused(Code.URI_INVALID, "the URI contains control characters")
    if uri[0].isspace() or uri[-1].isspace():
        raise Refused(Code.URI_INVALID, "the URI begins or ends with a blank")
    scheme = _scheme(uri, limits)
    if scheme == "file":
        return _file(uri)
    if scheme in _PORTS:
        return _http(scheme, uri, limits)
    if scheme == "data":
        return _data(uri)
    return _object(scheme, uri) if scheme in STORES else _member(cast("Kind", scheme), uri)


def _scheme(uri: str, limits: FetchLimits) -> str:
    match = _SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if scheme in limits.schemes and scheme in _KNOWN:
        return scheme
    fault = f"scheme '{scheme}' is not allowed" if scheme else "the URI has no scheme"
    allowed = ", ".join(sorted(limits.schemes & _KNOWN))
    raise Refused(Code.URI_SCHEME, f"{fault}; allowed: {allowed}")


def _file(uri: str) -> FilePath:
    # By hand: this runs once per local image, and urlsplit costs more than opening the file.
    host, slash, rest = uri[len("file:") :].removeprefix("//").partition("/")
    if not slash or not uri[5:].startswith("/") or host.lower() not in {"", "localhost"}:
        raise Refused(Code.URI_INVALID, "a file URI looks like file:///folder/name")
    if "?" in rest or "#" in rest:
        raise Refused(Code.URI_INVALID, "'?' and '#' in a file URI must be written %3F and %23")
    try:
        path = b"/" + unquote_to_bytes(rest.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        raise Refused(Code.URI_INVALID, "the URI is not valid Unicode") from None
    if b"\0" in path:
        raise Refused(Code.URI_INVALID, "the URI contains a NUL")
    return FilePath(path)


def _member(kind: Kind, uri: str) -> MemberOf:
    archive, mark, name = uri.partition(MARK)
    if not mark or not name:
        raise Refused(Code.URI_INVALID, f"a {kind} URI looks like {kind}:///folder/a.{kind}!/name")
    path = _file("file" + archive[len(kind) :]).path
    return MemberOf(kind, path, unquote_to_bytes(name).decode(errors="surrogateescape"))


def _data(uri: str) -> Inline:
    head, comma, body = uri.partition(",")
    if not comma:
        raise Refused(Code.URI_INVALID, "a data URI looks like data:image/png;base64,iVBOR…")
    try:
        content = unquote_to_bytes(body)
        if head.lower().endswith(";base64"):
            # Like browsers: without the padding as well.
            padding = b"=" * (-len(content) % 4)
            content = base64.b64decode(content + padding, validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Refused(Code.URI_INVALID, "the data URI is not valid base64") from None
    if not content:
        raise Refused(Code.EMPTY, "the data URI has no bytes")
    return Inline(content)


def _object(scheme: str, uri: str) -> ObjectKey:
    bucket, _, key = uri[len(scheme) + 1 :].removeprefix("//").partition("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise Refused(Code.URI_INVALID, f"the URI has no valid bucket; {scheme}://bucket/key")
    if not key:
        raise Refused(Code.URI_INVALID, f"the URI has no key; {scheme}://bucket/key")
    return ObjectKey(scheme, bucket, key)


def _http(scheme: str, uri: str, limits: FetchLimits) -> HttpUrl:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise Refused(Code.URI_INVALID, "host or port of the URI is malformed") from None
    if "@" in parts.netloc:
        raise Refused(Code.URI_FORBIDDEN, "credentials in the URI are not allowed")
    if port is None:
        port = _PORTS[scheme]
    if port not in limits.ports:
        raise Refused(Code.URI_FORBIDDEN, f"port {port} is not allowed")
    return HttpUrl(scheme, _host(parts), port, _target(parts))


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if "[" in parts.netloc:
        # No zone ids (fe80::1%eth0): they name this machine's interfaces.
        if _IPV6.fullmatch(host):
            return host
    else:
        try:
            name = host if host.isascii() else _idn(host)
        except UnicodeError:
            name = ""
        # A strict alphabet, so that no other parser can read another host out of the same URI.
        if len(name) <= 253 and _NAME.fullmatch(name):
            return name
    raise Refused(Code.URI_INVALID, "the URI has no valid host")


def _idn(host: str) -> str:
    # Python knows the rules of 2003, by which these are other letters or none: another host.
    if _DEVIATING.search(host):
        raise Refused(Code.URI_INVALID, "write this host's name as xn--…, as servers know it")
    return host.encode("idna").decode("ascii").lower()


def _target(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    try:
        return quote((parts.path or "/") + query, safe=VERBATIM)
    except UnicodeEncodeError:
        raise Refused(Code.URI_INVALID, "the URI is not valid Unicode") from None
