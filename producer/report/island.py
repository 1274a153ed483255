"""Island: the rows that the page's table holds, as compressed lines of JSON in Base64.

Compressed, 100,000 rows take a few megabytes; and Base64 holds nothing that could end the script
element it stands in, whatever the images are called.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from base64 import b64encode
from typing import IO, TYPE_CHECKING, Any, Final, Self

from core.types import ResultStatus
from producer.report.shown import link, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

#: Labels of one row in the table.
KEPT: Final = 5
#: Bytes turned into Base64 at a time: a multiple of 3, so that the pieces can be joined.
PIECE: Final = 3 * 16_384
#: Compressed bytes kept in memory; more go to the disk.
IN_MEMORY: Final = 8 << 20


class Island:
    """Takes rows, of which it keeps `most` at even distances, and gives them back as text."""

    def __init__(self, total: int, most: int) -> None:
        self.rows = 0
        self.labels: dict[str, int] = {}
        self._total = total
        self._most = most
        self._seen = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._packer = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6, mtime=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._packer.close()
        self._file.close()

    def add(self, row: Row[Any], truth: str | None) -> None:
        """Take a row; `truth` is the label it should have, if known."""
        at, self._seen = self._seen, self._seen + 1
        if self._total > self._most and (
            at * self._most // self._total == (at - 1) * self._most // self._total
        ):
            return
        self.rows += 1
        line = json.dumps(self._record(row, truth), ensure_ascii=False, separators=(",", ":"))
        self._packer.write(f"{line}\n".encode(errors="replace"))

    def pieces(self) -> Iterator[str]:
        """Yield the text; take no more rows afterwards."""
        self._packer.close()
        self._file.seek(0)
        while piece := self._file.read(PIECE):
            yield b64encode(piece).decode()

    def _record(self, row: Row[Any], truth: str | None) -> list[Any]:
        """Return `[position, image, link, [label, score, ...], truth]`.

        Labels are their places in `labels`, scores ten-thousandths. Of a failed image it is
        `[position, image, link, code, error]`.
        """
        record: list[Any] = [row.position, shown(row.uri), link(row.uri)]
        if row.status == ResultStatus.FAILED:
            return [*record, row.error_code, row.error or ""]
        best: list[int] = []
        for _, label, score in row.predictions[:KEPT]:
            best += (self._number(label), round(score * 10_000))
        return [*record, best] if truth is None else [*record, best, self._number(truth)]

    def _number(self, label: str) -> int:
        return self.labels.setdefault(label, len(self.labels))
