"""Redact: URLs without what only their owner should know, and without pictures."""

from __future__ import annotations

import re
from typing import Final

_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s?#]*)([?#]?)(\S*)", re.IGNORECASE)
_DATA: Final = re.compile(r"\bdata:[^\s,]*,\S*", re.IGNORECASE)


def redact(text: str) -> str:
    """Return `text` with the credentials, queries and fragments of its URLs left out."""
    text = _DATA.sub("data:…", text) if "data:" in text.lower() else text
    return _URL.sub(_bare, text) if "://" in text else text


def _bare(found: re.Match[str]) -> str:
    scheme, place, sign, rest = found.groups()
    if "@" in rest and "@" not in place:
        # A query with an at, or a password with a question mark: then `place` is part of it.
        return f"{scheme}…"
    _, at, host = place.rpartition("@")
    return f"{scheme}{'…@' if at else ''}{host}{sign}{'…' if sign else ''}"
