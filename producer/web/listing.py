"""What the address of a page of results says: which rows, in which order, from which row on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from db.browse import Choice, Mark, Order

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Rows of a page.
PAGE: Final = 48


def read_choice(query: Mapping[str, str]) -> Choice:
    """Return what the form's fields choose.

    Label and scores are asked of labelled images, so they order by score; a code means failed ones.

    Raises:
        HTTPException: if a field holds what it cannot.
    """
    label, code = query.get("label", "").strip() or None, query.get("code") or None
    low, high = _share(query, "min"), _share(query, "max")
    try:
        order = Order(query.get("order") or Order.POSITION)
    except ValueError:
        raise HTTPException(400, "order: position, sure, unsure or failed") from None
    if code is not None or order == Order.FAILED:
        return Choice(Order.FAILED, code=code)
    if order == Order.POSITION and (label, low, high) != (None, None, None):
        order = Order.SURE
    return Choice(order, label, low, high)


def read_marks(query: Mapping[str, str], choice: Choice) -> tuple[Mark | None, Mark | None]:
    """Return the rows after or before which to read.

    Raises:
        HTTPException: if they are malformed.
    """
    return _mark(query.get("after"), choice), _mark(query.get("before"), choice)


def turned(choice: Choice, way: str, mark: Mark | None) -> str:
    """Return the query of the page after or before a mark; empty if there is none."""
    if mark is None:
        return ""
    place = str(mark.position) if mark.key is None else f"{mark.position}~{mark.key}"
    return f"?{urlencode({**_fields(choice), way: place})}"


def _fields(choice: Choice) -> dict[str, str]:
    found = {
        "order": choice.order.value,
        "label": choice.label,
        "min": None if choice.min_score is None else f"{choice.min_score * 100:g}",
        "max": None if choice.max_score is None else f"{choice.max_score * 100:g}",
        "code": choice.code,
    }
    return {name: value for name, value in found.items() if value is not None}


def _share(query: Mapping[str, str], name: str) -> float | None:
    text = query.get(name, "").strip().removesuffix("%").strip()
    if not text:
        return None
    try:
        value = float(text) / 100
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise HTTPException(400, f"{name}: a score from 0 to 100 %")
    return value


def _mark(text: str | None, choice: Choice) -> Mark | None:
    if not text:
        return None
    place, _, key = text.partition("~")
    try:
        if not place.isdecimal() or len(place) > 18:
            raise ValueError(place)
        if choice.order == Order.POSITION:
            return Mark(None, int(place))
        return Mark(key if choice.order == Order.FAILED else float(key), int(place))
    except ValueError:
        raise HTTPException(400, "this page does not exist: begin again") from None
