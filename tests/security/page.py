"""Asking a web page, as a browser would and as a browser would not."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

from producer.cli.local import SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.yard import Yard

SAMPLE = (SAMPLES / "digit-3-1588.png").read_bytes()


def ask(
    yard: Yard, method: str, path: str, body: bytes = b"", **headers: str
) -> http.client.HTTPResponse:
    """Ask; the answer's text is in `.text`."""
    port = yard.settings.web_port
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        line.request(method, path, body, {"Host": f"127.0.0.1:{port}", **named})
        answer = line.getresponse()
        answer.text = answer.read().decode(errors="replace")  # type: ignore[attr-defined]
    finally:
        line.close()
    return answer


def form(*pictures: tuple[str, bytes], model: str = "digits") -> bytes:
    parts = [b'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + model.encode()]
    for name, content in pictures:
        head = f'--cut\r\nContent-Disposition: form-data; name="picture"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content)
    return b"\r\n".join([*parts, b"--cut--\r\n"])


def drop(yard: Yard, body: bytes, **headers: str) -> http.client.HTTPResponse:
    own = {"Origin": f"http://127.0.0.1:{yard.settings.web_port}"}
    return ask(
        yard, "POST", "/classify", body,
        **{"Content-Type": "multipart/form-data; boundary=cut", **own, **headers},
    )  # fmt: skip


def shelf(yard: Yard) -> list[Path]:
    return sorted(path for path in (yard.settings.home / "pictures").rglob("*") if path.is_file())
