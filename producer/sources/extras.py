"""The further columns of an image: any JSON value that both databases can keep, in bounds."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from producer.sources.text import wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.sources.block import Extra

#: Most bytes that the further columns of one image may take, as JSON.
EXTRA_LIMIT: Final = 64 * 1024
#: Deepest nesting; far below where any JSON reader between here and a report gives up.
DEPTH_LIMIT: Final = 32

# PostgreSQL stores no NUL; an even number of backslashes before the escape makes it plain text.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
# A value of JSON may be written longer than it was read (1e15, CSV's quotes), but never this much.
_SURELY_SMALL: Final = EXTRA_LIMIT // 16


def json_decoder() -> Callable[[str], Any]:
    """Return a reader of JSON that refuses what is not JSON: NaN, infinity, numbers beyond a float."""
    return json.JSONDecoder(parse_float=_finite, parse_constant=_refused).decode


def checked_extra(extra: Extra, size: int, name: str, line: int) -> Extra | None:
    """Return `extra`, None if there is nothing in it; `size` is the length of its text as read.

    Raises:
        ManifestError: It is too large, too deep, or holds text that no database stores.
    """
    if not extra:
        return None
    if size > _SURELY_SMALL:
        _check(extra, name, line)
    return extra


def _check(extra: Extra, name: str, line: int) -> None:
    if _deeper(extra, DEPTH_LIMIT):
        raise wrong(name, line, f"values nested deeper than {DEPTH_LIMIT}")
    text = json.dumps(extra, ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise wrong(name, line, "a value holds half of a surrogate pair") from error
    if size > EXTRA_LIMIT:
        raise wrong(name, line, f"further columns of {size} bytes; at most {EXTRA_LIMIT} are kept")
    if _NUL.search(text):
        raise wrong(name, line, "a value holds a NUL character")


def _deeper(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = "a number is too large"
        raise ValueError(msg)
    return number


def _refused(constant: str) -> object:
    msg = f"{constant} is not a JSON value"
    raise ValueError(msg)
