from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from producer.sources import Sources, open_sources
from producer.sources.block import Block, resized

if TYPE_CHECKING:
    from collections.abc import Sequence


def uris(sources: Sources, size: int = 100) -> list[str]:
    return [uri for block in sources.blocks(size) for uri in block.uris]


def names(folder: Path, arguments: Sequence[str]) -> list[str]:
    """Return the images that the arguments name, without the folder they all lie in."""
    return [uri.removeprefix(f"{folder.as_uri()}/") for uri in uris(open_sources(arguments))]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with most of what can lie in one."""
    for name in (
        "b.JPG", "a.jpg", "notes.md", ".hidden.jpg", "jpg", "c d.png",
        "sub/x.webp", "sub/deep/y.tiff", "sub/deep/z.jpg", ".cache/t.jpg", "list[1]/k.jpg",
    ):  # fmt: skip
        path = tmp_path / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "p/folder.jpg").mkdir()
    (tmp_path / "p/folder.jpg/inside.jpg").touch()
    (tmp_path / "p/gone.png").symlink_to("nowhere")
    (tmp_path / "p/loop").symlink_to(tmp_path / "p")
    (tmp_path / "p/self").symlink_to("self")
    return tmp_path / "p"


def test_folder_is_read_in_order_and_whatever_is_named_like_an_image_counts(pictures: Path) -> None:
    assert names(pictures, [str(pictures)]) == [
        "a.jpg", "b.JPG", "c%20d.png", "folder.jpg", "gone.png",
        "list%5B1%5D/k.jpg", "sub/x.webp", "sub/deep/y.tiff", "sub/deep/z.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["a.jpg", "folder.jpg"]),
        ("*", ["a.jpg", "b.JPG", "c%20d.png", "folder.jpg", "gone.png"]),
        ("[ab].*", ["a.jpg", "b.JPG"]),
        ("?.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "folder.jpg", "list%5B1%5D/k.jpg", "sub/deep/z.jpg"]),
        ("sub/**", ["sub/x.webp", "sub/deep/y.tiff", "sub/deep/z.jpg"]),
        ("**/deep/**/*.jpg", ["sub/deep/z.jpg"]),
        ("**/**/z.*", ["sub/deep/z.jpg"]),
        ("*/deep/*.jpg", ["sub/deep/z.jpg"]),
        ("./sub/./d*p//z.jpg", ["sub/deep/z.jpg"]),
        ("fold*.jpg/*.jpg", ["folder.jpg/inside.jpg"]),
        ("list[1]/*.jpg", ["list%5B1%5D/k.jpg"]),
        (".*", [".hidden.jpg"]),
        (".cach*/*.jpg", [".cache/t.jpg"]),
        ("loo*/a.jpg", ["loop/a.jpg"]),
        ("sel?/a.jpg", None),
        ("*.md", None),
        ("*.gif", None),
    ],
)
def test_glob(pictures: Path, pattern: str, found: list[str] | None) -> None:
    if found is None:
        with pytest.raises(UsageError, match=r"no image matches .*looked for"):
            names(pictures, [str(pictures / "a.jpg"), f"{pictures}/{pattern}"])
    else:
        assert names(pictures, [f"{pictures}/{pattern}"]) == found


def test_no_image_comes_twice_by_two_ways_through_a_glob(tmp_path: Path) -> None:
    (tmp_path / "b/b/b").mkdir(parents=True)
    (tmp_path / "b/b/b/x.jpg").touch()
    assert names(tmp_path, [f"{tmp_path}/**/b/**/*.jpg"]) == ["b/b/b/x.jpg"]


def test_relative_arguments(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures)
    assert names(pictures, ["a.jpg", "sub", "**/z.jpg", "sub/../b.JPG"]) == [
        "a.jpg", "sub/x.webp", "sub/deep/y.tiff", "sub/deep/z.jpg", "sub/deep/z.jpg", "b.JPG",
    ]  # fmt: skip


def test_sources_follow_each_other_and_doubles_stay(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("uri,who\nhttp://h/1,me\n")
    (tmp_path / "l.txt").write_text("p/a.jpg\n\nhttp://h/1\n")
    sources = open_sources(
        ["https://h/0?s=1", str(tmp_path / "l.csv"), str(tmp_path / "l.txt"), "-"],
        stdin=io.BytesIO(b"http://h/2\n"),
    )
    blocks = list(sources.blocks(3))
    assert blocks == [
        Block(
            ["https://h/0?s=1", "http://h/1", (pictures / "a.jpg").as_uri()],
            [None, {"who": "me"}, None],
        ),
        Block(["http://h/1", "http://h/2"]),
    ]
    assert sources.description == f"0, {tmp_path}/l.csv, {tmp_path}/l.txt, standard input"


def test_roots_are_real_paths_each_once(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l.txt").write_text("x.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/e.jpg").touch()
    (pictures / "e.jpg").symlink_to(tmp_path / "elsewhere/e.jpg")
    monkeypatch.chdir(tmp_path / "elsewhere")

    def roots(*arguments: str) -> list[str]:
        found = open_sources(arguments, stdin=io.BytesIO()).roots
        return [str(root.relative_to(tmp_path.resolve())) for root in found]

    assert roots(str(pictures / "loop/sub")) == ["p/sub"]
    assert roots(str(pictures / "a.jpg"), str(pictures)) == ["p"]
    assert roots(str(pictures / "e.jpg")) == ["p", "elsewhere"]
    assert roots(f"{pictures}/sub/d*/**/*.jpg") == ["p/sub"]
    assert roots(str(tmp_path / "l.txt")) == ["."]
    assert roots((pictures / "a.jpg").as_uri()) == ["p"]
    assert roots("-", "http://h/x.jpg", "file://other/x.jpg") == ["elsewhere"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nowhere", "nowhere does not exist; name an image, a folder"),
        ("nowhere/*.jpg", "nowhere.* does not exist"),
        ("p/*/../*.jpg", "'..' cannot follow a wildcard"),
        ("", "empty argument does not exist"),
        ("a\0b", "does not exist"),
        ("x" * 5000, "cannot be read|does not exist"),
        ("p/gone.png", "does not exist"),
        ("p/self", "cannot be read"),
        ("p/notes.md", r"\.md is neither an image nor a manifest"),
        ("table.xlsx", r"\.xlsx is neither an image nor a manifest"),
        ("pipe", "neither a file nor a folder"),
        ("ftp://b/k.jpg?secret", "scheme ftp: is not supported; file, http, https, zip"),
        ("s3://b/prefix/", "not listed here"),
        ("javascript:secret", "scheme javascript: is not supported"),
        (r"C:\a.jpg", "does not exist"),
        ("http://h/a\nb", "control character"),
        ("-", "no standard input"),
    ],
)
def test_argument_that_names_nothing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, argument: str, message: str
) -> None:
    monkeypatch.chdir(pictures.parent)
    (pictures.parent / "table.xlsx").touch()
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match=message) as raised:
        open_sources([argument])
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("arguments", [[], ["-", "-"]])
def test_no_argument_or_two_pipes(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        open_sources(arguments, stdin=io.BytesIO())


def test_nothing_at_all_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "l.txt").write_text("# nothing\n\n")
    (tmp_path / "l.csv").write_text("uri\n")
    arguments = [str(tmp_path / name) for name in ("empty", "l.txt", "l.csv")]
    with pytest.raises(UsageError, match=r"no image in .*/empty: looked for .*\.jpg.*l\.csv names"):
        list(open_sources([*arguments, "-"], stdin=io.BytesIO(b"\n")).blocks(1))
    # Beside something, an empty folder is no mistake.
    assert uris(open_sources([*arguments, "http://h/x"])) == ["http://h/x"]


def test_folder_that_cannot_be_read_is_not_passed_over(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("/deep"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("producer.sources.folders.os.scandir", refusing)
    with pytest.raises(UsageError, match=r"cannot read the folder .*/sub/deep: Permission denied"):
        uris(open_sources([str(pictures)]))


def test_manifest_that_vanishes(tmp_path: Path) -> None:
    (tmp_path / "l.txt").touch()
    sources = open_sources([str(tmp_path / "l.txt")])
    (tmp_path / "l.txt").unlink()
    with pytest.raises(UsageError, match=r"cannot read .*l\.txt: No such file"):
        uris(sources)


def test_image_without_extension_and_odd_names(tmp_path: Path) -> None:
    (tmp_path / "0a1b2c").touch()
    (tmp_path / "what*[1]?.jpg").touch()
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.jpg")
    Path(odd).touch()
    arguments = [str(tmp_path / "0a1b2c"), str(tmp_path / "what*[1]?.jpg"), odd]
    assert names(tmp_path, arguments) == ["0a1b2c", "what%2A%5B1%5D%3F.jpg", "caf%E9.jpg"]
    assert names(tmp_path, [str(tmp_path)]) == ["caf%E9.jpg", "what%2A%5B1%5D%3F.jpg"]


def test_sources_can_be_read_again_and_from_many_files(tmp_path: Path) -> None:
    for number in range(5000):
        (tmp_path / f"{number:04d}.jpg").touch()
    sources = open_sources([str(tmp_path)])
    sizes = [len(block.uris) for block in sources.blocks(999)]
    assert sizes == [999] * 5 + [5]
    assert uris(sources) == [f"{tmp_path.as_uri()}/{number:04d}.jpg" for number in range(5000)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_blocks_are_cut_and_joined(size: int) -> None:
    blocks = [Block(["a"]), Block([]), Block(["b", "c", "d"], [None, {"x": 1}, None]), Block(["e"])]
    cut = list(resized(blocks, size))
    assert [len(block.uris) for block in cut] == [size] * (5 // size) + [5 % size] * (5 % size > 0)
    assert [uri for block in cut for uri in block.uris] == list("abcde")
    extras = [extra for block in cut for extra in block.extras or [None] * len(block.uris)]
    assert extras == [None, None, {"x": 1}, None, None]


def test_block_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(resized([], 0))


@given(st.text("/.*?[]:~-\0\n\udcffaZ\\%é", max_size=12) | st.text())
def test_any_argument_is_a_source_or_a_usage_error(argument: str) -> None:
    try:
        sources = open_sources([argument])
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017 - either end is right
    else:
        assert all(root.is_absolute() for root in sources.roots)
        assert sources.description.isprintable()
