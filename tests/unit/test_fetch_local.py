from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest

from core.errors import Code
from core.limits import FetchLimits
from core.types import Failure
from worker.fetch import Fetcher, local

LIMITS = FetchLimits(
    schemes=frozenset({"file"}),
    ports=frozenset({80}),
    networks=(),
    roots=(),
    max_bytes=1000,
    connect_timeout=1,
    read_timeout=1,
    total_timeout=1,
    min_rate=0,
    max_redirects=3,
    tries=3,
    per_host=1,
    user_agent="test",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that is allowed, with a neighbour whose name begins alike, and is not."""
    for name in ("pics", "pics-secret"):
        (tmp_path / name / "sub").mkdir(parents=True)
    (tmp_path / "pics" / "a.jpg").write_bytes(b"picture")
    (tmp_path / "pics-secret" / "s.jpg").write_bytes(b"secret")
    return tmp_path / "pics"


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    fetcher = Fetcher(LIMITS, sleep=lambda _: None)
    yield fetcher
    fetcher.close()


def code_of(result: bytes | Failure) -> Code | None:
    return result.code if isinstance(result, Failure) else None


@pytest.mark.parametrize(
    "name",
    [
        b"a b.jpg", b"a#b.jpg", b"a?b.jpg", b"100%.jpg", b"\xff\xfe.jpg", b"..a.jpg", b".hidden",
        b"line\nbreak.jpg", "\u00e4\u65e5.jpg".encode(), b"sub/x.jpg",
    ],
)  # fmt: skip
def test_names_are_found_however_odd(fetcher: Fetcher, root: Path, name: bytes) -> None:
    path = os.fsencode(root) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"odd")
    assert fetcher.fetch("file://" + quote_from_bytes(path), [root]) == b"odd"


def test_what_as_uri_writes_is_read(fetcher: Fetcher, root: Path) -> None:
    assert fetcher.fetch((root / "a.jpg").as_uri(), [root]) == b"picture"


@pytest.mark.parametrize(
    "tail",
    [
        "../pics-secret/s.jpg",
        "%2e%2e/pics-secret/s.jpg",
        "..%2fpics-secret%2fs.jpg",
        "sub/../../pics-secret/s.jpg",
        "../../../../../../../../etc/passwd",
        "/../../etc/passwd",
    ],
)
def test_dots_lead_nowhere(fetcher: Fetcher, root: Path, tail: str) -> None:
    result = fetcher.fetch(f"file://{root}/{tail}", [root])
    assert code_of(result) is Code.PATH_FORBIDDEN
    assert isinstance(result, Failure)
    assert "pics" not in result.detail


@pytest.mark.parametrize("tail", ["sub/../a.jpg", "./a.jpg", "/a.jpg", "sub/%2e%2e/a.jpg"])
def test_dots_inside_are_fine(fetcher: Fetcher, root: Path, tail: str) -> None:
    assert fetcher.fetch(f"file://{root}/{tail}", [root]) == b"picture"


@pytest.mark.parametrize(
    "uri",
    ["file:///etc/passwd", "file:///proc/self/environ", "file:///proc/version", "file:///dev/zero",
     "file:////etc/passwd", "file:///", "file:///dev/null"],
)  # fmt: skip
def test_elsewhere_is_forbidden(fetcher: Fetcher, root: Path, uri: str) -> None:
    assert code_of(fetcher.fetch(uri, [root])) is Code.PATH_FORBIDDEN


@pytest.mark.parametrize("by_identity", [False, True], ids=["proc", "no-proc"])
class TestLinks:
    @pytest.fixture(autouse=True)
    def _without_proc(self, by_identity: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if by_identity:
            monkeypatch.setattr(
                local,
                "_real_path",
                lambda _, path, found: local.resolve_by_identity(path, found),
            )

    def test_a_link_inside_is_followed(self, fetcher: Fetcher, root: Path) -> None:
        (root / "link.jpg").symlink_to("a.jpg")
        assert fetcher.fetch(f"file://{root}/link.jpg", [root]) == b"picture"

    def test_a_link_out_is_not(self, fetcher: Fetcher, root: Path) -> None:
        (root / "link.jpg").symlink_to(root.parent / "pics-secret" / "s.jpg")
        (root / "folder").symlink_to(root.parent / "pics-secret")
        for tail in ("link.jpg", "folder/s.jpg", "folder/../pics-secret/s.jpg"):
            result = fetcher.fetch(f"file://{root}/{tail}", [root])
            assert code_of(result) in {Code.PATH_FORBIDDEN, Code.FILE_NOT_FOUND}
        assert code_of(fetcher.fetch(f"file://{root}/link.jpg", [root])) is Code.PATH_FORBIDDEN

    def test_a_root_may_be_a_link(self, fetcher: Fetcher, root: Path) -> None:
        alias = root.parent / "alias"
        alias.symlink_to(root)
        assert fetcher.fetch(f"file://{alias}/a.jpg", [alias]) == b"picture"
        assert fetcher.fetch(f"file://{root}/a.jpg", [alias]) == b"picture"
        assert fetcher.fetch(f"file://{alias}/a.jpg", [root, alias]) == b"picture"

    def test_a_root_that_is_switched_to_a_new_folder_still_works(
        self, fetcher: Fetcher, root: Path
    ) -> None:
        current = root.parent / "current"
        current.symlink_to(root)
        assert fetcher.fetch(f"file://{current}/a.jpg", [current]) == b"picture"
        current.unlink()
        current.symlink_to(root.parent / "pics-secret")
        assert fetcher.fetch(f"file://{current}/s.jpg", [current]) == b"secret"
        assert code_of(fetcher.fetch(f"file://{root}/a.jpg", [current])) is Code.PATH_FORBIDDEN

    def test_a_link_swapped_while_opening_is_caught(
        self, fetcher: Fetcher, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link = root / "link.jpg"
        link.symlink_to("a.jpg")
        real_open = os.open

        def swap_then_open(path: bytes, flags: int) -> int:
            link.unlink()
            link.symlink_to(root.parent / "pics-secret" / "s.jpg")
            handle = real_open(path, flags)
            link.unlink()
            link.symlink_to("a.jpg")
            return handle

        monkeypatch.setattr(os, "open", swap_then_open)
        result = fetcher.fetch(f"file://{link}", [root])
        assert code_of(result) is Code.PATH_FORBIDDEN


def test_a_folder_named_through_a_link_elsewhere_on_its_path(fetcher: Fetcher, root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root.parent)
    assert fetcher.fetch((link / "pics" / "a.jpg").as_uri(), [root]) == b"picture"
    secret = fetcher.fetch((link / "pics-secret" / "s.jpg").as_uri(), [root])
    assert code_of(secret) == Code.PATH_FORBIDDEN
    missing = fetcher.fetch((link / "pics-secret" / "none.jpg").as_uri(), [root])
    assert code_of(missing) == Code.PATH_FORBIDDEN  # nor is it told what is there


def test_a_circle_of_links(fetcher: Fetcher, root: Path) -> None:
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    assert code_of(fetcher.fetch(f"file://{root}/x", [root])) is Code.NOT_A_FILE


def test_no_roots_means_no_files(fetcher: Fetcher, root: Path) -> None:
    uri = f"file://{root}/a.jpg"
    assert code_of(fetcher.fetch(uri, [])) is Code.PATH_FORBIDDEN
    assert code_of(fetcher.fetch(uri, [Path("pics")])) is Code.PATH_FORBIDDEN
    assert code_of(fetcher.fetch(uri, [root / "a.jpg"])) is Code.PATH_FORBIDDEN
    assert fetcher.fetch(uri, [Path("/")]) == b"picture"


def test_the_operators_folders_are_a_ceiling(root: Path) -> None:
    fetcher = Fetcher(replace(LIMITS, roots=(root / "sub",)))
    (root / "sub" / "b.jpg").write_bytes(b"below")
    assert fetcher.fetch(f"file://{root}/sub/b.jpg", [root]) == b"below"
    assert code_of(fetcher.fetch(f"file://{root}/a.jpg", [root])) is Code.PATH_FORBIDDEN
    assert code_of(fetcher.fetch(f"file://{root}/sub/b.jpg", [])) is Code.PATH_FORBIDDEN
    fetcher.close()


def test_what_is_no_file(fetcher: Fetcher, root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as sock:
        here = Path.cwd()
        os.chdir(root)  # the path of a UNIX socket must be short
        try:
            sock.bind("sock")
        finally:
            os.chdir(here)
        for name, kind in {
            "fifo": "named pipe", "sub": "folder", "zero": "device", "sock": "socket",
        }.items():  # fmt: skip
            result = fetcher.fetch(f"file://{root}/{name}", [root])
            assert result == Failure(Code.NOT_A_FILE, f"it is a {kind}")


def test_proc_is_refused_even_below_the_root_folder(fetcher: Fetcher) -> None:
    result = fetcher.fetch("file:///proc/self/environ", [Path("/")])
    assert code_of(result) in {Code.EMPTY, Code.FILE_NOT_FOUND}


@pytest.mark.parametrize("tail", ["missing.jpg", "a.jpg/b.jpg", "sub/no/where.jpg", "x" * 300])
def test_missing(fetcher: Fetcher, root: Path, tail: str) -> None:
    result = fetcher.fetch(f"file://{root}/{tail}", [root])
    assert result == Failure(Code.FILE_NOT_FOUND, "no such file")


def test_sizes(fetcher: Fetcher, root: Path) -> None:
    (root / "empty").touch()
    (root / "most").write_bytes(b"x" * 1000)
    (root / "more").write_bytes(b"x" * 1001)
    assert code_of(fetcher.fetch(f"file://{root}/empty", [root])) is Code.EMPTY
    assert fetcher.fetch(f"file://{root}/most", [root]) == b"x" * 1000
    result = fetcher.fetch(f"file://{root}/more", [root])
    assert result == Failure(Code.TOO_LARGE, "larger than 1000 bytes")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable(fetcher: Fetcher, root: Path) -> None:
    (root / "a.jpg").chmod(0)
    assert code_of(fetcher.fetch(f"file://{root}/a.jpg", [root])) is Code.PERMISSION


@pytest.mark.parametrize(
    ("error", "code", "tries"),
    [
        (PermissionError(13, "no"), Code.PERMISSION, 1),
        (OSError(5, "Input/output error"), Code.READ_FAILED, 3),
        (OSError(24, "Too many open files"), Code.READ_FAILED, 3),
    ],
)
def test_errors_of_the_disk(
    fetcher: Fetcher, root: Path, monkeypatch: pytest.MonkeyPatch,
    error: OSError, code: Code, tries: int,
) -> None:  # fmt: skip
    calls = []

    def fail(path: bytes, flags: int) -> int:
        calls.append(path)
        raise error

    monkeypatch.setattr(os, "open", fail)
    assert code_of(fetcher.fetch(f"file://{root}/a.jpg", [root])) is code
    assert len(calls) == tries


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([b"pic", b"ture", b""], b"picture"),
        ([b"picture+", b"more", b""], b"picture+more"),
        ([b"pic", b""], Code.TRUNCATED),
        ([b"picture+", b"x" * 993], Code.TOO_LARGE),
    ],
)
def test_a_file_that_changes_while_it_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, reads: list[bytes], expected: bytes | Code
) -> None:
    left = list(reads)
    monkeypatch.setattr(os, "read", lambda _handle, _count: left.pop(0))
    fetcher = Fetcher(replace(LIMITS, tries=1))
    result = fetcher.fetch(f"file://{root}/a.jpg", [root])
    assert (result.code if isinstance(result, Failure) else result) == expected
    fetcher.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts handles in /proc")
def test_no_handle_stays_open(fetcher: Fetcher, root: Path) -> None:
    (root / "link.jpg").symlink_to("/etc/passwd")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("a.jpg", "link.jpg", "sub", "missing"):
        fetcher.fetch(f"file://{root}/{name}", [root])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_importing_and_local_files_load_no_network() -> None:
    code = (
        "import sys; from worker.fetch import Fetcher;"
        "bad = {'httptools', 'ssl', 'certifi', 'celery', 'sqlalchemy', 'redis', 'numpy'};"
        "print(sorted(bad & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
