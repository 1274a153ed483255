"""URIs and the paths behind them: telling one from the other, percent-encoding, short names to show."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from core.archives import MARK
from core.types import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.archives import Kind

#: Schemes that a URI on the command line may have.
SCHEMES: Final = ("file", "http", "https", "zip", "tar", "data", "s3", "gs", "az")
#: Those of object stores: a bucket, then a key, verbatim.
STORES: Final = ("s3", "gs", "az")
#: Those of archives: a file's path, then the name of a member.
ARCHIVES: Final = ("zip", "tar")

#: Longest URI; the workers refuse longer ones as well.
URI_LIMIT: Final = 8192

_USUAL: Final = tuple(f"{scheme}://" for scheme in SCHEMES)
# `name:` alone is no scheme, for files are called `cam1:0042.jpg`; drives and UNC paths are no paths here.
_SCHEME: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://|(?P<opaque>file|https?|data|javascript):|[a-z]:[\\/]|\\\\",
    re.IGNORECASE,
)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~/\0-]")
_ESCAPES: Final = {chr(byte): f"%{byte:02X}" for byte in range(256)}
# Marks of `.`, `..`, `//` and a last `/`, sought in paths that begin with `/` and end with NUL.
_UNTIDY: Final = ("//", "/./", "/../", "/\0", "/.\0", "/..\0")
# Control characters, and halves of surrogate pairs, which JSON can spell but UTF-8 cannot.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME_LIMIT: Final = 120


def uri_of(path: Path) -> str:
    """Return the `file://` URI of `path`, made absolute; bytes that are not UTF-8 are kept."""
    return file_uris([absolute(os.fspath(path))])[0]


def path_of(uri: str) -> Path | None:
    """Return the path that a URI of this machine names, that of the archive for a member, else None."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() in ARCHIVES:
        uri = f"file:{rest.partition(MARK)[0]}"
    if not uri.lower().startswith("file:///") and not uri.lower().startswith("file://localhost/"):
        return None
    place = uri.split("#", 1)[0].split("?", 1)[0]
    path = os.fsdecode(unquote_to_bytes(place[place.index("/", len("file://")) :]))
    return None if "\0" in path else Path(path)


def name_of(uri: str) -> str:
    """Return a short name of `uri` to show: never its query, which may hold a signature."""
    scheme, mark, rest = uri.partition("://")
    if mark and _SCHEME.match(uri):
        # A password may stand before the host, a signature behind the path.
        path = re.split(r"[?#]", rest, maxsplit=1)[0].rstrip("/")
        host, slash, path = path.partition("/")
        name = path.rpartition("/")[2] if slash else host.rpartition("@")[2]
        if scheme.lower() in {"file", *ARCHIVES}:
            name = unquote(name, errors="replace")
    elif (match := _SCHEME.match(uri)) and match["opaque"]:
        name = f"{match['opaque']}:…"
    else:
        name = re.split(r"[/\\]", uri.rstrip("/\\"))[-1]
    return printable(name, _NAME_LIMIT)


def member_uris(kind: Kind, path: str, names: Iterable[str]) -> list[str]:
    """Return the URIs of members of the archive at an absolute `path`."""
    start = f"{kind}{file_uris([path])[0].removeprefix('file')}{MARK}"
    escaped = (quote(name.encode(errors="surrogateescape"), safe="/") for name in names)
    return [start + name for name in escaped]


def fault_of(uri: str) -> str | None:
    """Return why `uri` can be neither a URI nor a path, None if it can."""
    if not uri:
        return "the URI is empty"
    if len(uri) > URI_LIMIT:
        return f"the URI has {len(uri)} characters; at most {URI_LIMIT} are read"
    if _FORBIDDEN.search(uri):
        return "the URI holds a control character"
    return None


def scheme_of(text: str) -> str | None:
    """Return the scheme of a URI in lower case, `""` for a Windows path, None for a path of ours."""
    match = _SCHEME.match(text)
    return (match["scheme"] or match["opaque"] or "").lower() if match else None


def absolute(path: str, folder: str | None = None) -> str:
    """Return `path` below `folder` (else the current one) without `.`, `..`, `//`.

    Symbolic links are kept as the user wrote them, except where `..` needs them resolved.
    """
    joined = os.path.join(folder or os.getcwd(), path)  # noqa: PTH109, PTH118 - str in, str out: speed
    parts = [part for part in joined.split("/") if part not in {"", "."}]
    if ".." not in parts:
        return "/" + "/".join(parts)
    if parts[-1] == "..":
        return os.path.realpath(joined)
    return os.path.realpath("/" + "/".join(parts[:-1])).rstrip("/") + "/" + parts[-1]


def file_uris(paths: Iterable[str]) -> list[str]:
    """Return the URIs of absolute paths, like `Path.as_uri` but all in one go."""
    text = "\0".join(paths)
    if not text:
        return []
    if _UNSAFE.search(text):
        # One character per byte, so that names that are not UTF-8 pass through as well.
        text = _UNSAFE.sub(lambda found: _ESCAPES[found[0]], os.fsencode(text).decode("latin-1"))
    return ("file://" + text.replace("\0", "\0file://")).split("\0")


def located(names: list[str], folder: str) -> list[str]:
    """Return URIs as they are and paths, relative ones below `folder`, as `file://` URIs."""
    local = [
        at
        for at, name in enumerate(names)
        if not name.startswith(_USUAL) and (name[0] == "/" or not _SCHEME.match(name))
    ]
    if not local:
        return names
    prefix = folder.rstrip("/") + "/"
    paths = [name if (name := names[at])[0] == "/" else prefix + name for at in local]
    text = "\0".join(paths) + "\0"
    if any(mark in text for mark in _UNTIDY):
        paths = [absolute(path) for path in paths]
    uris = file_uris(paths)
    if len(uris) == len(names):
        return uris
    places = list(names)
    for at, uri in zip(local, uris, strict=True):
        places[at] = uri
    return places
