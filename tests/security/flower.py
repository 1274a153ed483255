"""Asking a Flower."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A status (0: nobody there) and a body."""

    status: int
    body: str


def ask(port: int, path: str, password: str = "", data: bytes | None = None) -> Answer:
    """Ask for a page, or post data, as user `classyard` if a password is given."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data)
    if password:
        word = base64.b64encode(f"classyard:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, "")
    except OSError:
        return Answer(0, "")
