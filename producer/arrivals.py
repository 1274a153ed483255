"""Arrivals: the files of a folder, each once and only when whole. Polls, so network mounts work, too.

A file is whole when size and time of change stayed the same for a while. What was seen is in the
database: whoever watches again goes on where the last one ended, however that was.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from core.errors import UsageError
from core.types import printable
from db import arrivals
from producer.sources import Block, Source, Sources
from producer.sources.folders import Pattern, is_glob, pattern_of, read_pattern
from producer.sources.uris import absolute, path_of
from producer.submit import submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from db.jobs import JobRequest
    from producer.submit import Desk, Submission

#: Files asked for at once, and that may be waiting to settle: the others wait for the next look.
_BLOCK: Final = 1000
MOST_WAITING: Final = 50_000


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the folder found."""

    submissions: tuple[Submission, ...]
    #: Files that are there and not yet whole.
    waiting: int


@dataclass(frozen=True, slots=True)
class _Version:
    """A file as it was at one look."""

    name: str
    uri: str


class Arrivals:
    """Watches one folder for one model.

    Args:
        desk: where jobs are submitted.
        pattern: the folder, and which files below it.
        ask: says what a job asks for. Called for each: the model may be replaced meanwhile.
        settle: seconds that a file must stay as it is.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        desk: Desk,
        pattern: Pattern,
        ask: Callable[[], JobRequest],
        settle: float,
        clock: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._pattern = pattern
        self._ask = ask
        self._settle = settle
        self._clock = clock
        words = "\n".join((pattern.folder, *pattern.parts, ask().model))
        self.watch = f"watch-{blake2b(words.encode(), digest_size=8).hexdigest()}"
        #: When each version that is not whole yet was seen first.
        self._since: dict[str, float] = {}
        #: Jobs that nobody was told of yet.
        self._made: list[Submission] = []

    def look(self) -> Look:
        """Look once; submit what is whole, each time as one job.

        What was claimed and never submitted, because a watcher or Redis died, comes first.

        Raises:
            UsageError: the folder cannot be read.
            ClassyardError: Redis or the model is away, or too much waits; the rest is submitted by a later look,
                which also tells of what was submitted by this one.
        """
        for batch in self._left():
            self._submit(batch)
        whole, since = self._compare()
        self._since = since
        size = self._desk.settings.max_images or MOST_WAITING
        for start in range(0, len(whole), size):
            batch = f"{self.watch}-{uuid4().hex}"
            files = {version.name: version.uri for version in whole[start : start + size]}
            self._desk.database.write(arrivals.claim, batch, files)
            self._submit(batch)
        made, self._made = self._made, []
        return Look(tuple(made), len(since))

    def _left(self) -> list[str]:
        return self._desk.database.read(arrivals.unsubmitted, self.watch)

    def _submit(self, batch: str) -> None:
        """Submit a batch under its own key: doing it twice makes one job."""
        database = self._desk.database
        uris = database.read(arrivals.uris_of, batch)
        if not uris:
            return  # another watcher of the same folder had them all
        source = Source(lambda: iter([Block(uris)]), self._pattern.folder, (), "nothing")
        asked = self._ask()
        request = asked.named(None, key=batch, priority=asked.priority)
        done = submit(self._desk, Sources((source,)), request, self._desk.settings.chunk_size)
        database.write(arrivals.submitted, batch, done.job_id)
        self._made.append(done)

    def _compare(self) -> tuple[list[_Version], dict[str, float]]:
        """Return what is whole now, and since when the rest is as it is."""
        whole: list[_Version] = []
        since: dict[str, float] = {}
        now = self._clock()
        for versions in self._new():
            for version in versions:
                first = self._since.get(version.name, now)
                if now - first >= self._settle and version.name in self._since:
                    whole.append(version)
                else:
                    since[version.name] = first
                if len(whole) + len(since) >= MOST_WAITING:
                    return whole, since
        return whole, since

    def _new(self) -> Iterator[list[_Version]]:
        """Yield the files that no watcher has claimed, in blocks."""
        for block in read_pattern(self._pattern, live=True):
            for start in range(0, len(block.uris), _BLOCK):
                versions = self._versions(block.uris[start : start + _BLOCK])
                names = [version.name for version in versions]
                known = self._desk.database.read(arrivals.known, names)
                yield [version for version in versions if version.name not in known]

    def _versions(self, uris: Sequence[str]) -> list[_Version]:
        found = []
        for uri in uris:
            path = path_of(uri)
            assert path is not None
            if (state := _state(path)) is not None:
                words = f"{self.watch}\n{uri}\n{state.st_size}\n{state.st_mtime_ns}"
                name = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
                found.append(_Version(name, uri))
        return found


def watched(argument: str) -> Pattern:
    """Return the folder, or the glob, that is to be watched.

    Raises:
        UsageError: there is no such folder.
    """
    pattern = pattern_of(argument) if is_glob(argument) else Pattern(absolute(argument))
    if not os.path.isdir(pattern.folder):  # noqa: PTH112 - a str of ours
        raise UsageError(f"{printable(argument)} is no folder: name the folder to watch")
    return pattern


def _state(path: Path) -> os.stat_result | None:
    """Return the state of a file; None for what is none, or gone already."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state if stat.S_ISREG(state.st_mode) else None
