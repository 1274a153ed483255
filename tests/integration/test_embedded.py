"""The embedded Redis: private, shared by its users, gone with the last of them however it ended."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from broker.embedded import SOCKET_PATH_LIMIT, embedded_redis, embedded_url, is_running, socket_path
from core.errors import BrokerError
from tests.support.broker import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent.parent
USER = """
import sys, time
from pathlib import Path
from broker.embedded import embedded_redis
with embedded_redis(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def user(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that uses the embedded Redis of `home`."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def server_pid(home: Path) -> int:
    with connect(embedded_url(home)) as client:
        return int(client.info("server")["process_id"])


def test_two_users_share_one_and_the_last_to_leave_ends_it(
    home: Path, user: subprocess.Popen[str]
) -> None:
    first = server_pid(home)
    with embedded_redis(home):
        assert server_pid(home) == first
        assert user.stdin is not None
        user.stdin.close()
        user.wait(10)
        time.sleep(0.5)  # more than the guard needs to notice that nobody is left
        assert is_running(home)
    until(lambda: not is_running(home))
    assert not socket_path(home).exists()


def test_it_goes_with_a_user_that_was_killed(home: Path, user: subprocess.Popen[str]) -> None:
    server = server_pid(home)
    user.send_signal(signal.SIGKILL)
    until(lambda: not is_running(home))
    until(lambda: not Path(f"/proc/{server}").exists())


def test_what_was_queued_is_there_after_a_restart(home: Path) -> None:
    with embedded_redis(home), connect(embedded_url(home)) as client:
        client.set("key", "value")
        first = server_pid(home)
    until(lambda: not is_running(home))
    with embedded_redis(home), connect(embedded_url(home)) as client:
        assert client.get("key") == b"value"
        assert server_pid(home) != first


def test_a_server_that_was_killed_is_started_again(home: Path) -> None:
    with embedded_redis(home):
        os.kill(server_pid(home), signal.SIGKILL)
        until(lambda: not is_running(home))
        with embedded_redis(home):
            assert is_running(home)


def test_nobody_else_gets_in(home: Path) -> None:
    with embedded_redis(home), connect(embedded_url(home)) as client:
        for path in ((home / "redis"), socket_path(home)):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        for file in (home / "redis").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0, file
        names = ("port", "appendonly", "maxmemory-policy")
        told = {name: client.config_get(name)[name] for name in names}
        assert told == {"port": "0", "appendonly": "yes", "maxmemory-policy": "noeviction"}
        assert int(client.config_get("maxmemory")["maxmemory"]) > 0


def test_a_home_too_deep_for_a_socket(home: Path) -> None:
    deep = home / ("a" * 60) / ("b" * 60)
    place = socket_path(deep)
    assert len(os.fsencode(place)) <= SOCKET_PATH_LIMIT
    assert place != socket_path(home / ("a" * 60) / ("c" * 60))
    with embedded_redis(deep):
        assert is_running(deep)
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    until(lambda: not is_running(deep))
    place.parent.rmdir()


def test_a_home_with_awkward_characters(home: Path) -> None:
    awkward = home / "my yard, 100% ü#1"
    with embedded_redis(awkward), redis.Redis(unix_socket_path=str(socket_path(awkward))) as client:
        assert client.ping()


def test_a_server_that_cannot_start_is_an_error_with_its_log(home: Path) -> None:
    (home / "redis").mkdir(mode=0o700)
    (home / "redis" / "appendonly.aof").mkdir()  # where Redis 6 has a file
    (home / "redis" / "appendonlydir").touch()  # where Redis 7 and newer have a folder
    with pytest.raises(BrokerError, match=r"did not start: see .*redis\.log"), embedded_redis(home):
        pass


def test_a_server_that_is_left_while_it_starts_is_stopped_all_the_same(tmp_path: Path) -> None:
    """A server that inherited "ignore SIGTERM" would stay, and its guard would lock everybody out."""
    just_starting = [sys.executable, "-c", "import time; time.sleep(60)"]
    guard = [sys.executable, "-m", "broker.guard", str(tmp_path / "users.lock"), *just_starting]
    begun = time.monotonic()
    assert subprocess.run(guard, cwd=ROOT, timeout=30, check=False).returncode != 0
    assert time.monotonic() - begun < 20


def test_the_socket_of_a_deep_home_is_the_same_in_every_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * SOCKET_PATH_LIMIT)
    monkeypatch.setattr("tempfile.tempdir", None)
    here = socket_path(deep)
    for other in ("other", "y" * SOCKET_PATH_LIMIT):
        folder = tmp_path / other
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr("tempfile.tempdir", None)
        assert socket_path(deep) == here
