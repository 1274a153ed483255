"""Follows a log file that another program writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.types import printable

if TYPE_CHECKING:
    from pathlib import Path

#: Most bytes read at one look: a program that floods its log must not keep us from the others.
MOST_BYTES: Final = 256 * 1024
#: Longest line that is shown, in characters.
MOST_CHARACTERS: Final = 2000


@dataclass(slots=True)
class LogTail:
    """Gives the lines that were added to a file since the last look, from its present end on."""

    path: Path
    _position: int = 0
    _rest: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Leave out what earlier runs wrote."""
        self._position = self.path.stat().st_size if self.path.exists() else 0

    def lines(self) -> list[str]:
        """Return the whole lines added since the last call, printable and bounded."""
        try:
            with self.path.open("rb") as log:
                if self._position > log.seek(0, 2):
                    self._position = 0  # somebody emptied it
                log.seek(self._position)
                added = log.read(MOST_BYTES)
        except OSError:
            return []
        self._position += len(added)
        *whole, self._rest = (self._rest + added).split(b"\n")
        if len(self._rest) > MOST_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [printable(line.decode(errors="replace"), MOST_CHARACTERS) for line in whole]
