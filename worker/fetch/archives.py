"""The bytes of one member of a local archive, which lies where files may lie."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from core import archives
from core.archives import ArchiveError, Member, MemberTooLargeError
from core.errors import Code
from worker.fetch.local import refusal
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from worker.fetch.local import LocalReader
    from worker.fetch.uri import MemberOf

#: Members whose places are remembered, of all archives together: about 80 MB.
_REMEMBERED: Final = archives.MOST_MEMBERS

_Index = dict[str, Member]


class ArchiveReader:
    """Reads members by position; remembers the directories of the archives used last. Thread-safe."""

    def __init__(self, local: LocalReader, max_bytes: int) -> None:
        self._local = local
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[int, int, int, int], _Index] = OrderedDict()

    def read(self, place: MemberOf, roots: Sequence[Path]) -> bytes:
        """Return the whole member.

        Raises:
            Refused: for everything that an archive or a member can be instead.
        """
        handle, found = self._local.open(place.path, roots)
        try:
            member = self._index(handle, found, place.kind).get(place.name)
            if member is None:
                raise Refused(Code.FILE_NOT_FOUND, "no such member in the archive")
            if not member.size and not member.problem:
                raise Refused(Code.EMPTY, "the member has no bytes")
            return archives.read(handle, member, self._max_bytes)
        except ArchiveError as error:
            raise Refused(Code.ARCHIVE_INVALID, str(error)) from None
        except MemberTooLargeError:
            raise Refused(Code.TOO_LARGE, f"larger than {self._max_bytes} bytes") from None
        except OSError as error:
            raise refusal(error) from None
        finally:
            os.close(handle)

    def _index(self, handle: int, found: os.stat_result, kind: archives.Kind) -> _Index:
        key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        # One reads the directory, the others wait for it: a chunk's members are of one archive.
        with self._lock:
            index = self._indexes.pop(key, None)
            if index is None:
                with os.fdopen(os.dup(handle), "rb") as file:
                    index = {member.name: member for member in archives.members(file, kind)}
            self._indexes[key] = index
            while len(self._indexes) > 1 and sum(map(len, self._indexes.values())) > _REMEMBERED:
                self._indexes.popitem(last=False)
            return index
