"""How an image is named in a report: nothing secret, nothing that a name could do to the page."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from core.types import printable

#: Longest text shown of a URI.
SHOWN: Final = 1000
_LOCAL: Final = re.compile(r"(file|zip|tar)://(?=/)", re.IGNORECASE)
_QUERY: Final = re.compile(r"([^?#]*)([?#]?)", re.DOTALL)
_PRIVATE: Final = re.compile(r"[?#]|^https?://[^/]*@", re.IGNORECASE)
_LINKED: Final = re.compile(r"(file|https?)://", re.IGNORECASE)


def shown(uri: str) -> str:
    """Return `uri` for people: a path as it is on the disk, anything else without its secrets."""
    if local := _LOCAL.match(uri):
        return printable(unquote(uri[local.end() :], errors="replace"), SHOWN)
    if uri[:5].lower() == "data:":
        return "data:…"
    place, sign = _QUERY.match(uri).groups()  # type: ignore[union-attr]
    scheme, mark, rest = place.partition("://")
    if mark:
        authority, slash, path = rest.partition("/")
        _, at, name = authority.rpartition("@")
        place = f"{scheme}{mark}{'…@' if at else ''}{name}{slash}{path}"
    return printable(f"{place}{sign}{'…' if sign else ''}", SHOWN)


def link(uri: str) -> str:
    """Return what a link to the original may point to; empty if it is no file and no web address.

    Also empty if the URI has a query or credentials, which may be secret and without which it leads
    nowhere.
    """
    bare = _LINKED.match(uri) is not None and printable(uri, SHOWN) == uri
    return uri if bare and not _PRIVATE.search(uri) else ""


def host(uri: str) -> str:
    """Return the host that an image comes from; empty for files and for what has none."""
    try:
        parts = urlsplit(uri)
        return printable(parts.hostname or "", 253) if parts.scheme in {"http", "https"} else ""
    except ValueError:
        return ""
