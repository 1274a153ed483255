"""How the files of this folder tell each other that there will be no bytes.

An exception, because every wait on the way can end so; `Fetcher.fetch` turns it into a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.errors import Code


class Refused(Exception):
    """One try ended without bytes; the detail never holds a query, a credential or a root."""

    def __init__(self, code: Code, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        #: Seconds the server asked us to wait before another try.
        self.retry_after = retry_after
