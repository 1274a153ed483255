"""What the user names on the command line, told apart and opened; nothing is read before it is asked for."""

from __future__ import annotations

import os
import stat
from functools import partial
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from core.archives import KINDS, Kind
from core.errors import UsageError
from core.types import printable
from producer.sources import archives, folders, manifests, metadata, objects, parquet
from producer.sources.block import Block
from producer.sources.source import Source, Sources
from producer.sources.uris import (
    SCHEMES,
    STORES,
    absolute,
    fault_of,
    file_uris,
    name_of,
    path_of,
    scheme_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.limits import FetchLimits

#: The argument that stands for standard input.
STDIN: Final = "-"
_READERS: Final = {
    ".txt": manifests.read_txt,
    ".csv": manifests.read_csv,
    ".jsonl": manifests.read_jsonl,
    ".parquet": parquet.read_parquet,
}
_ARCHIVES: Final[dict[str, Kind]] = {f".{kind}": kind for kind in KINDS}
#: Endings of archives that must be unpacked first, and of what is no archive of ours at all.
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")
_KINDS: Final = (
    f"an image, a folder, a glob, a {', '.join(_READERS)} manifest, "
    f"a {', '.join(_ARCHIVES)} archive, a URI or -"
)


def open_sources(
    arguments: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    limits: FetchLimits | None = None,
) -> Sources:
    """Tell what each argument is; relative paths are below the current folder.

    Args:
        arguments: Folders, globs, images, URIs, archives, manifests, or `-` for `stdin`.
        stdin: What `-` reads.
        limits: How object stores are reached; without it their prefixes are not listed.

    Raises:
        UsageError: An argument names nothing that exists, or nothing that can be read.
    """
    if not arguments:
        raise UsageError(f"name what to classify: {_KINDS}")
    if list(arguments).count(STDIN) > 1:
        raise UsageError("standard input (-) can be read only once")
    return Sources(tuple(_source(argument, stdin, limits) for argument in arguments))


def _source(argument: str, stdin: BinaryIO | None, limits: FetchLimits | None) -> Source:
    if argument == STDIN:
        return _piped(stdin)
    if scheme := scheme_of(argument):
        return _uri(argument, scheme, limits)
    shown = printable(argument) or "an empty argument"
    path = Path(argument)
    try:
        mode = os.stat(argument).st_mode  # noqa: PTH116 - Path("") is the current folder
    except (OSError, ValueError) as error:
        if folders.is_glob(argument) and not os.path.lexists(argument):
            return _glob(argument, shown)
        raise UsageError(f"{shown} {_missing(error)}; name {_KINDS}") from error
    if stat.S_ISDIR(mode):
        return _folder(path, shown)
    if stat.S_ISREG(mode):
        return _file(path, shown)
    raise UsageError(f"{shown} is neither a file nor a folder; a pipe is read with -")


def _missing(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return "does not exist"
    return f"cannot be read ({error.strerror})"


def _piped(stdin: BinaryIO | None) -> Source:
    if stdin is None:
        raise UsageError("there is no standard input to read (-)")
    name = "standard input"
    read = partial(manifests.read_pipe, stdin, name, str(Path.cwd()))
    return Source(read, name, (_real(Path.cwd()),), f"{name} names no image")


def _uri(argument: str, scheme: str, limits: FetchLimits | None) -> Source:
    if scheme not in SCHEMES:
        raise UsageError(f"the scheme {scheme}: is not supported; {', '.join(SCHEMES)} are")
    uri = argument.strip()
    shown = name_of(uri)
    if fault := fault_of(uri):
        raise UsageError(f"{shown}: {fault}")
    if scheme in STORES and objects.is_prefix(uri):
        return _prefix(uri, limits)
    path = path_of(uri)
    roots = () if path is None else (_real(path.parent),)
    return Source(lambda: iter([Block([uri])]), shown, roots, f"{shown} is no image", one=True)


def _prefix(uri: str, limits: FetchLimits | None) -> Source:
    shown = printable(uri)
    if limits is None:
        raise UsageError(f"{shown}: prefixes are not listed here; name the objects")
    if "*" in uri:
        raise UsageError(f"{shown}: stores know no globs; name a prefix, such as s3://bucket/2024/")
    return Source(partial(objects.read_prefix, uri, limits), shown, (), objects.no_image_in(shown))


def _folder(path: Path, shown: str) -> Source:
    pattern = folders.Pattern(absolute(str(path)))
    empty = f"no image in {shown}: {folders.LOOKED_FOR}"
    read = partial(_images, pattern, path)
    return Source(read, shown, (_real(path),), empty)


def _images(pattern: folders.Pattern, path: Path) -> Iterator[Block]:
    """Read a folder; tables of Hugging Face's kind beside the images say more about each."""
    blocks = folders.read_pattern(pattern)
    tables = metadata.tables_of(path)
    return metadata.joined(blocks, tables, _READERS) if tables else blocks


def _glob(argument: str, shown: str) -> Source:
    if Path(argument).suffix.lower() in {*_READERS, *_ARCHIVES}:
        return _glob_of_files(argument, shown)
    pattern = folders.pattern_of(argument)
    empty = f"no image matches {shown}: {folders.LOOKED_FOR}"
    root = Path(pattern.folder)
    if not root.is_dir():
        raise UsageError(f"{shown}: the folder {printable(pattern.folder)} does not exist")
    return Source(partial(_matches, pattern, empty), shown, (_real(root),), empty)


def _glob_of_files(argument: str, shown: str) -> Source:
    """Read every archive or manifest that a glob names, in the order of their names."""
    names = sorted(glob(argument, recursive=True))  # noqa: PTH207 - it may be absolute
    if not names:
        raise UsageError(f"no file matches {shown}")
    files = [_file(Path(name), printable(name)) for name in names]
    roots = tuple(dict.fromkeys(root for one in files for root in one.roots))
    read = partial(_each, files)
    return Source(read, shown, roots, f"no image in what {shown} matches")


def _each(files: Sequence[Source]) -> Iterator[Block]:
    for one in files:
        yield from one.read()


def _matches(pattern: folders.Pattern, empty: str) -> Iterator[Block]:
    """Read a glob, which as a name for nothing is a mistake even among other sources."""
    found = False
    for block in folders.read_pattern(pattern):
        found = True
        yield block
    if not found:
        raise UsageError(empty)


def _file(path: Path, shown: str) -> Source:
    suffix = path.suffix.lower()
    if suffix in _READERS:
        read = partial(_manifest, path, shown, suffix)
        return Source(read, shown, (_real(path.parent),), f"{shown} names no image")
    if suffix in _ARCHIVES:
        read = partial(archives.read_archive, path, shown, _ARCHIVES[suffix])
        roots = tuple(dict.fromkeys([_real(path.parent), _real(path).parent]))
        return Source(read, shown, roots, f"no image in {shown}: {folders.LOOKED_FOR}")
    if path.name.lower().endswith(_COMPRESSED):
        raise UsageError(f"{shown}: members are read by position: repack it as .zip or plain .tar")
    # Caches name pictures by their hash, without extension; any other extension is a mistake.
    if suffix and not folders.is_image_name(path.name):
        raise UsageError(
            f"{shown}: {suffix} is neither an image nor a manifest"
            f" ({', '.join(_READERS)}); an image by another name is given as a file:// URI"
        )
    uris = file_uris([absolute(str(path))])
    # The user named this very picture: where a link leads is meant as well.
    roots = tuple(dict.fromkeys([_real(path.parent), _real(path).parent]))
    return Source(lambda: iter([Block(list(uris))]), shown, roots, f"{shown} is no image", one=True)


def _manifest(path: Path, shown: str, suffix: str) -> Iterator[Block]:
    folder = absolute(str(path.parent))
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror or error}") from error
    with stream:
        yield from _READERS[suffix](stream, shown, folder)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
