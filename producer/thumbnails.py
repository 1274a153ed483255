"""Thumbnails: small pictures for people, made by the worker's own code in a process of its own.

So the same limits and address policy hold as for workers, the desk knows no pixels, and a decoder
that crashes takes nothing along.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from base64 import b64decode
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.settings import Settings

#: Exit status of the process where the worker's parts are not installed (`worker.thumbnails`).
NOT_INSTALLED: Final = 4
#: Tries of one picture: it may have been lost because a neighbour crashed the process.
TRIES: Final = 2
#: What a stranger's picture must not reach: the process that decodes needs none of it.
_KEPT_FROM_IT: Final = tuple(
    f"CLASSYARD_{name}"
    for name in ("BROKER_URL", "DATABASE_URL", "FLOWER_PASSWORD", "WEB_PASSWORD", "WEBHOOK_SECRET")
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture of a job: `roots` as the job allows them, the longer side at most `side` pixels.

    With a `content_hash`, only the very bytes that were classified will do.
    """

    uri: str
    roots: Sequence[str] = ()
    side: int = 160
    content_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A file of the type `kind` (`image/jpeg`, `image/png`) and its size in pixels."""

    kind: str
    content: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class NoThumbnail:
    """Why there is none: an error code, or `changed`, `timeout`, `crash`, `not_installed`."""

    code: str
    detail: str


class Thumbnails:
    """Makes thumbnails, several at a time; use it from as many threads as you like.

    The process is started when it is first needed and again when it died. Close it at the end.
    """

    def __init__(self, settings: Settings) -> None:
        # Empty, not absent: a file .env would fill what is absent.
        self._environment = settings.as_environment() | dict.fromkeys(_KEPT_FROM_IT, "")
        self._lock = threading.Lock()
        self._numbers = count()
        self._maker: _Maker | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(self, wanted: Wanted, seconds: float = 10.0) -> Thumbnail | NoThumbnail:
        """Return a thumbnail, or why there is none; waits `seconds` at most."""
        for _ in range(TRIES):
            answer: Future[dict[str, Any] | None] = Future()
            maker, number = self._running(), next(self._numbers)
            maker.ask(number, wanted, answer)
            try:
                said = answer.result(seconds)
            except FutureTimeoutError:
                maker.forget(number)
                return NoThumbnail("timeout", f"not fetched and decoded within {seconds:g} s")
            if said is not None:
                return _read(said)
            if maker.exit_code() == NOT_INSTALLED:
                return NoThumbnail("not_installed", "the worker's parts are not installed here")
        return NoThumbnail("crash", "the process that makes thumbnails ended")

    def close(self) -> None:
        """End the process; what it is at is given up."""
        with self._lock:
            self._closed = True
            maker, self._maker = self._maker, None
        if maker is not None:
            maker.stop()

    def _running(self) -> _Maker:
        with self._lock:
            if self._closed:
                raise RuntimeError("the thumbnails are closed")
            if self._maker is None or self._maker.ended:
                self._maker = _Maker(self._environment)
            return self._maker


class _Maker:
    """One run of the process, and who waits for what."""

    def __init__(self, environment: dict[str, str]) -> None:
        # -P: a folder of the user's that happens to be called "worker" must not be taken for ours.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.thumbnails"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us alone; it ends when its input does
        )
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[dict[str, Any] | None]] = {}
        self.ended = False
        threading.Thread(target=self._listen, name="thumbnails", daemon=True).start()

    def ask(self, number: int, wanted: Wanted, answer: Future[dict[str, Any] | None]) -> None:
        """Have `answer` set: to what the process says, or to None if it ends before."""
        line = json.dumps(
            {
                "id": number,
                "uri": wanted.uri,
                "roots": list(wanted.roots),
                "side": wanted.side,
                "content_hash": wanted.content_hash,
            }
        )
        with self._lock:
            if self.ended:
                answer.set_result(None)
                return
            self._waiting[number] = answer
            assert self._process.stdin is not None
            with suppress(OSError):  # it has ended: `_listen` is about to say so
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def forget(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        with self._lock:
            self._waiting.pop(number, None)

    def exit_code(self) -> int | None:
        """Return how the process ended, once it did."""
        return self._process.poll()

    def stop(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                with self._lock:
                    answer = self._waiting.pop(said["id"], None)
                if answer is not None:
                    answer.set_result(said)
        self._process.wait()
        with self._lock:
            self.ended = True
            with suppress(OSError):
                self._process.stdin.close()
            lost, self._waiting = self._waiting, {}
        for answer in lost.values():
            answer.set_result(None)


def _read(said: dict[str, Any]) -> Thumbnail | NoThumbnail:
    if "code" in said:
        return NoThumbnail(said["code"], said["detail"])
    return Thumbnail(said["kind"], b64decode(said["content"]), said["width"], said["height"])
