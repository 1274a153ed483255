"""The guard before every page: who may ask, from where, for how long; what every answer says."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

from producer.flower import USER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from producer.web.listening import Names

#: Methods that change nothing.
SAFE: Final = frozenset({"GET", "HEAD"})
#: Seconds that an answer may take; receiving pictures has time-outs of its own.
ANSWER_SECONDS: Final = 60.0
#: Seconds that a wrong password costs.
WRONG_SECONDS: Final = 0.5
HEADERS: Final = {
    # Nothing from elsewhere, no script or style inside a page, no page inside another.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: browsers would then send `Origin: null` with a form.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware: refuses foreign hosts, foreign origins and strangers; bounds every answer."""

    def __init__(self, app: ASGIApp, names: Names, password: str) -> None:
        self._app = app
        self._names = names
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = await self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        try:
            async with asyncio.timeout(None if scope["method"] == "POST" else ANSWER_SECONDS):
                await self._app(scope, receive, send_guarded)
        except TimeoutError:
            slow = PlainTextResponse("the database or a picture is too slow: try again\n", 504)
            await slow(scope, receive, send_guarded)

    async def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._names.allow(host):
            # A stranger's page whose name was made to lead here (DNS rebinding) ends here.
            return _no(421, "this name is not ours: use localhost, or set CLASSYARD_WEB_HOSTS")
        if scope["method"] not in SAFE and not _is_own(headers.get("origin", ""), host):
            return _no(403, "a page from elsewhere may not change anything here")
        if self._password and not self._knows(headers.get("authorization", "")):
            if "authorization" in headers:
                await asyncio.sleep(WRONG_SECONDS)
            return PlainTextResponse(
                "user and password, please\n",
                401,
                {"www-authenticate": 'Basic realm="Classyard", charset="UTF-8"'},
            )
        return None

    def _knows(self, authorization: str) -> bool:
        kind, _, word = authorization.partition(" ")
        try:
            given = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError):
            return False
        right = hmac.compare_digest(given, f"{USER}:{self._password}".encode())
        return right and kind.lower() == "basic"


def _is_own(origin: str, host: str) -> bool:
    """Whether an `Origin` header is that of our own pages; a missing one is not."""
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


def _no(status: int, text: str) -> PlainTextResponse:
    return PlainTextResponse(f"{text}\n", status, {"connection": "close"})
