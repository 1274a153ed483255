"""How many images one call takes: found by running out of memory once, then remembered."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path


class BatchSize:
    """A batch size that can only shrink, kept in a file of its own per model and device."""

    def __init__(self, wanted: int, memory: Path) -> None:
        self._memory = memory
        self.now = min(wanted, _recall(memory) or wanted)

    @property
    def least(self) -> bool:
        """Whether there is no smaller one."""
        return self.now == 1

    def halve(self) -> None:
        """Take half as many images from now on, in later processes too."""
        self.now = max(1, self.now // 2)
        # A container's folder may be read-only: then each of its children finds out for itself.
        with contextlib.suppress(OSError):
            self._remember()

    def _remember(self) -> None:
        self._memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written aside and renamed: another child may read it at this moment.
        with tempfile.NamedTemporaryFile(
            "w", dir=self._memory.parent, prefix="draft-", delete=False
        ) as draft:
            json.dump({"batch_size": self.now}, draft)
        Path(draft.name).replace(self._memory)


class FixedSize:
    """The batch size of a network that was built for one."""

    least = True

    def __init__(self, now: int) -> None:
        self.now = now

    def halve(self) -> None:
        """Do nothing: there is no smaller one."""


def _recall(memory: Path) -> int | None:
    """Return the remembered size; a file that cannot be read is no memory."""
    try:
        size = json.loads(memory.read_text("utf-8"))["batch_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and size > 0 else None
