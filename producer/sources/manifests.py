"""Manifests, the lists of images: one reader for each format, each lazy and each naming the wrong line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from typing import TYPE_CHECKING, BinaryIO, Final

from core.types import printable
from producer.sources.block import Block, Extra
from producer.sources.extras import DEPTH_LIMIT, checked_extra, json_decoder
from producer.sources.text import LINE_LIMIT, Lines, batches, wrong
from producer.sources.uris import URI_LIMIT, fault_of, located

if TYPE_CHECKING:
    from _csv import Reader
    from collections.abc import Iterable, Iterator

#: Rows of a CSV manifest that are read before they are handed on.
_CSV_ROWS: Final = 1024
#: Columns that may name the image, the first that is there: ours, then that of Hugging Face's tables.
NAMES: Final = ("uri", "file_name")
_BLANKS: Final = " \t\r\n"
_NOT_IN_TEXT: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def read_txt(stream: BinaryIO, name: str, folder: str) -> Iterator[Block]:
    """Read one URI or path per line; blank lines and lines that begin with `#` are comments."""
    yield from _txt(batches(stream, name), name, folder)


def read_jsonl(stream: BinaryIO, name: str, folder: str) -> Iterator[Block]:
    """Read one JSON object with a `uri`, or one JSON string, per line."""
    yield from _jsonl(batches(stream, name), name, folder)


def read_pipe(stream: BinaryIO, name: str, folder: str) -> Iterator[Block]:
    """Read what another program writes: JSONL if the first line begins with `{`, else lines of text."""
    read = batches(stream, name)
    filled = next((lines for lines in read if not lines.text.isspace()), None)
    if filled is not None:
        reader = _jsonl if filled.text.lstrip(_BLANKS).startswith("{") else _txt
        yield from reader(itertools.chain([filled], read), name, folder)


def read_csv(stream: BinaryIO, name: str, folder: str) -> Iterator[Block]:
    """Read a table with a header; the column `uri` names the image, the others are kept."""
    feed = _Feed(stream, name)
    rows = csv.reader(feed, strict=True)
    header, column = _header(rows, feed)
    header_size = feed.taken
    others = [title for at, title in enumerate(header) if at != column]
    records = _records(rows, feed, len(header))
    while True:
        uris: list[str] = []
        extras: list[Extra | None] = []
        for line, row in itertools.islice(records, _CSV_ROWS):
            uris.append(_uri(row.pop(column), name, line))
            extra = dict(zip(others, row, strict=True))
            extras.append(checked_extra(extra, header_size + feed.taken, name, line))
        if not uris:
            return
        yield Block(located(uris, folder), extras if others else None)


def _txt(read: Iterable[Lines], name: str, folder: str) -> Iterator[Block]:
    for lines in read:
        text = lines.text.replace("\r\n", "\n")
        rows = text.split("\n")
        if _NOT_IN_TEXT.search(text) or max(map(len, rows)) > URI_LIMIT:
            uris = _uris_one_by_one(rows, name, lines.first)
        else:
            # The rate of the whole desk hangs on this line: nothing in it but what must be.
            uris = [uri for row in rows if (uri := row.strip(" ")) and row[0] != "#"]
        yield Block(located(uris, folder))


def _uris_one_by_one(rows: list[str], name: str, first: int) -> list[str]:
    """Do with care what `_txt` does at speed: name the wrong line, allow tabs at the edges."""
    return [
        _uri(row, name, line)
        for line, row in enumerate(rows, first)
        if row.strip(_BLANKS) and row[0] != "#"
    ]


def _jsonl(read: Iterable[Lines], name: str, folder: str) -> Iterator[Block]:
    decode = json_decoder()
    for lines in read:
        uris: list[str] = []
        extras: list[Extra | None] = []
        for line, text in enumerate(lines.text.split("\n"), lines.first):
            if not text.strip(_BLANKS):
                continue
            try:
                value = decode(text)
            except (ValueError, RecursionError) as error:
                raise wrong(name, line, f"not valid JSON: {_reason(error)}") from error
            uri, extra = _uri_and_extra(value, name, line)
            uris.append(_uri(uri, name, line))
            # Escapes may spell what no database stores, brackets may nest: have these looked at.
            plain = "\\u" not in text and text.count("{") + text.count("[") <= DEPTH_LIMIT
            extras.append(checked_extra(extra, len(text) if plain else LINE_LIMIT, name, line))
        yield Block(located(uris, folder), extras)


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _uri_and_extra(value: object, name: str, line: int) -> tuple[str, Extra]:
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict):
        raise wrong(name, line, "neither a JSON object nor a string")
    key = next((key for key in NAMES if key in value), None)
    if key is None:
        raise wrong(name, line, 'no key "uri"')
    uri = value.pop(key)
    if not isinstance(uri, str):
        raise wrong(name, line, f'"{key}" is not a string')
    return uri, value


def _uri(text: str, name: str, line: int) -> str:
    """Return `text` without white space around it, if it can be a URI or a path at all."""
    uri = text.strip(_BLANKS)
    if fault := fault_of(uri):
        raise wrong(name, line, fault)
    return uri


class _Feed:
    """The lines of a CSV manifest, and what the row being read has taken of them so far."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.begin = 1
        self.taken = 0
        self._lines = self._read(stream)

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def _read(self, stream: BinaryIO) -> Iterator[str]:
        for lines in batches(stream, self.name):
            for line in io.StringIO(lines.text, newline="\n"):
                self.taken += len(line)
                if self.taken > LINE_LIMIT:
                    what = f"a row of more than {LINE_LIMIT} characters"
                    raise wrong(self.name, self.begin, what)
                yield line


def _header(rows: Reader, feed: _Feed) -> tuple[list[str], int]:
    """Return the titles of the columns and which of them is the URI's."""
    line, header = next(_records(rows, feed, None), (1, None))
    if header is None:
        raise wrong(feed.name, 1, "no header; the first line names the columns, one of them uri")
    column = next((title for title in NAMES if title in header), None)
    if column is None:
        raise wrong(
            feed.name, line, f"no column uri in the header: {printable(','.join(header), 80)}"
        )
    twice = [title for title in header if header.count(title) > 1]
    if twice:
        raise wrong(feed.name, line, f"the column {printable(twice[0], 80)!r} is there twice")
    return header, header.index(column)


def _records(rows: Reader, feed: _Feed, width: int | None) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank with the number of the line where it begins."""
    while True:
        line = feed.begin = rows.line_num + 1
        feed.taken = 0
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise wrong(feed.name, line, f"not valid CSV: {error}") from error
        if width is not None and row and len(row) != width:
            raise wrong(feed.name, line, f"{len(row)} fields where the header has {width}")
        if row:
            yield line, row
