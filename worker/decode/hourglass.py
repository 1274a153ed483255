"""Hourglass: bytes that are given out for a limited time only.

A decoder that asks for more and more cannot be interrupted from outside, least of all in a thread; but
it reads, and what it reads can end it.
"""

from __future__ import annotations

from io import BytesIO
from time import monotonic


class LateError(Exception):
    """The time is over: of no family that Pillow or `decode` takes for broken bytes."""


class Hourglass(BytesIO):
    """Bytes that can be read for `seconds` from now."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._until = monotonic() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            LateError: if the time is over.
        """
        if monotonic() > self._until:
            raise LateError
        return super().read(size)
