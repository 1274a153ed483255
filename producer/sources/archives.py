"""Archives as sources: the images in a zip or tar, and the words that lie beside them in a WebDataset shard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from core import archives
from core.archives import ArchiveError, Member, MemberTooLargeError
from core.errors import ManifestError, UsageError
from producer.sources.block import Block, Extra
from producer.sources.extras import EXTRA_LIMIT, checked_extra, json_decoder
from producer.sources.folders import is_image_name
from producer.sources.uris import absolute, member_uris

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from core.archives import Kind

_BLOCK: Final = 1024
#: Members beside an image whose text is kept, by their extension: WebDataset's own names.
_WORDS: Final = ("cls", "txt", "caption")
_JSON: Final = "json"
#: What macOS puts into a zip beside the pictures.
_SHADOWS: Final = "__MACOSX"


def read_archive(path: Path, shown: str, kind: Kind) -> Iterator[Block]:
    """Yield the images of an archive in its order.

    In a tar the members of one sample follow each other and differ in what stands behind the first
    dot of their names: `0001.jpg 0001.cls 0001.json`. The words become further columns.

    Raises:
        UsageError: the archive cannot be read.
        ManifestError: words beside an image are no text or no JSON.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror or error}") from error
    place = absolute(str(path))
    with file:
        names: list[str] = []
        extras: list[Extra | None] = []
        try:
            for sample in _samples(file, kind, shown):
                names += sample.images
                extras += [sample.extra] * len(sample.images)
                if len(names) >= _BLOCK:
                    yield _block(kind, place, names, extras)
                    names, extras = [], []
        except ArchiveError as error:
            raise UsageError(f"{shown}: {error}") from None
        except OSError as error:
            raise UsageError(f"cannot read {shown}: {error.strerror or error}") from error
        if names:
            yield _block(kind, place, names, extras)


def _block(kind: Kind, place: str, names: list[str], extras: list[Extra | None]) -> Block:
    return Block(member_uris(kind, place, names), extras if any(extras) else None)


class _Sample:
    """The members that share a name up to its first dot."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.images: list[str] = []
        self.words: dict[str, Any] = {}
        self.further: dict[str, Any] = {}

    @property
    def extra(self) -> Extra | None:
        """The further columns of each of its images."""
        return {**self.further, **self.words} or None


def _samples(file: BinaryIO, kind: Kind, shown: str) -> Iterator[_Sample]:
    sample = _Sample("")
    for number, member in enumerate(archives.members(file, kind), 1):
        folder, slash, base = member.name.rpartition("/")
        # `.` and `..` are hidden nothing: in an archive they are names like any other.
        if base.startswith(".") or any(
            part == _SHADOWS or (part.startswith(".") and part not in {".", ".."})
            for part in folder.split("/")
        ):
            continue
        key, _, ending = base.partition(".")
        if kind == "zip" or folder + slash + key != sample.key:
            yield sample
            sample = _Sample(folder + slash + key)
        if is_image_name(base):
            sample.images.append(member.name)
        elif kind == "tar" and ending.lower() in {*_WORDS, _JSON} and not member.problem:
            _add_words(sample, ending.lower(), _text(file, member, shown, number), shown, number)
    yield sample


def _add_words(sample: _Sample, ending: str, text: str, shown: str, number: int) -> None:
    if ending != _JSON:
        sample.words[ending] = text.strip()
    else:
        try:
            value = json_decoder()(text)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "no valid value"
            raise ManifestError(f"{shown}: member {number}: not valid JSON: {reason}") from error
        sample.further = value if isinstance(value, dict) else {_JSON: value}
    checked_extra(sample.extra or {}, EXTRA_LIMIT, shown, number)


def _text(file: BinaryIO, member: Member, shown: str, number: int) -> str:
    try:
        text = archives.read(file.fileno(), member, EXTRA_LIMIT).decode()
    except (UnicodeDecodeError, MemberTooLargeError):
        raise ManifestError(
            f"{shown}: member {number}: words beside an image are UTF-8 of at most "
            f"{EXTRA_LIMIT:,} bytes"
        ) from None
    return text
