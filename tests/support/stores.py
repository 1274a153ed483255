"""Google's and Azure's stores on loopback: emulators in processes of their own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Azurite's own account and key, the same everywhere.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Emulator:
    """A store, the environment that leads to it, and how objects are put there."""

    scheme: str
    environment: dict[str, str]
    #: Puts an object; without a key, makes the bucket.
    put: Callable[[str, str, bytes], None]

    def fill(self, bucket: str, objects: dict[str, bytes]) -> None:
        self.put(bucket, "", b"")
        for key, body in objects.items():
            self.put(bucket, key, body)


def azure_environment(endpoint: str, key: str = KEY) -> dict[str, str]:
    return {
        "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};"
        f"AccountKey={key};BlobEndpoint={endpoint}/{ACCOUNT};"
    }


@contextmanager
def google() -> Iterator[Emulator]:
    """Start Google's."""
    with served(lambda port: [
        sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", "-H", "127.0.0.1",
        "--port", str(port),
    ]) as port:  # fmt: skip

        def put(bucket: str, key: str, body: bytes) -> None:
            if not key:
                words = json.dumps({"name": bucket}).encode()
                return _ask(port, "POST", "/storage/v1/b?project=p", words, "application/json")
            # In parts, for the emulator takes no empty body.
            meta = json.dumps({"name": key}).encode()
            parts = (b"application/json", meta), (b"image/jpeg", body)
            text = b"".join(b"--x\r\nContent-Type: %b\r\n\r\n%b\r\n" % part for part in parts)
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
            return _ask(port, "POST", path, text + b"--x--", "multipart/related; boundary=x")

        yield Emulator("gs", {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}, put)


def azurite() -> str | None:
    """Return the command of Azure's emulator, an npm package; None where it is not installed."""
    return os.environ.get("CLASSYARD_TEST_AZURITE") or shutil.which("azurite-blob")


@contextmanager
def azure(folder: Path) -> Iterator[Emulator]:
    """Start Azure's."""
    with served(lambda port: [
        azurite() or "azurite-blob", "--silent", "--disableTelemetry", "--skipApiVersionCheck",
        "--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", str(port),
    ]) as port:  # fmt: skip

        def put(bucket: str, key: str, body: bytes) -> None:
            path = f"/{ACCOUNT}/{bucket}" + (f"/{quote(key, safe='/')}" if key else "")
            query = {} if key else {"restype": "container"}
            headers = {"x-ms-blob-type": "BlockBlob"} if key else {}
            headers |= {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
            headers["Authorization"] = _signed(path, query, headers, len(body))
            where = path + "".join(f"?{name}={value}" for name, value in query.items())
            _ask(port, "PUT", where, body, "", headers)

        yield Emulator("az", azure_environment(f"http://127.0.0.1:{port}"), put)


def _signed(path: str, query: dict[str, str], headers: dict[str, str], size: int) -> str:
    """Return the header by which Azure knows who asks."""
    sent = sorted(f"{name}:{value}\n" for name, value in headers.items())
    asked = "".join(f"\n{name}:{value}" for name, value in query.items())
    text = f"PUT\n\n\n{size or ''}\n" + "\n" * 8 + "".join(sent) + f"/{ACCOUNT}{path}{asked}"
    mac = hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)
    return f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"


def _ask(
    port: int, method: str, path: str, body: bytes, kind: str, more: dict[str, str] | None = None
) -> None:
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {**({"Content-Type": kind} if kind else {}), **(more or {})}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        assert answer.status in {200, 201}, (answer.status, answer.read())


@contextmanager
def served(command: Callable[[int], Sequence[str]], **environment: str) -> Iterator[int]:
    """Start a server, wait until it answers, yield its port."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        command(port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline, "the emulator did not start"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)
