"""Serving the web page: uvicorn with every bound set, until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from producer.web.app import make_web
from producer.web.listening import open_door
from producer.yard import open_desk

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from core.settings import Settings

#: Connections at once; more are told to come again.
CONNECTIONS: Final = 100
#: Seconds between looks at a connection; one that was without a whole request twice is closed.
IDLE_SECONDS: Final = 5
#: Seconds that answers have when the server stops.
STOP_SECONDS: Final = 3


class _Impatient(H11Protocol):
    """Closes a connection on which no whole request arrives: uvicorn itself would wait for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._was_idle = False
        self.loop.call_later(IDLE_SECONDS, self._look)

    def _look(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if self.transport.is_closing():
            return
        if idle and self._was_idle:
            self.transport.close()
            return
        self._was_idle = idle
        self.loop.call_later(IDLE_SECONDS, self._look)


def run_web(settings: Settings, announce: Callable[[Settings], Any]) -> None:
    """Serve the page until SIGINT or SIGTERM; `announce` is told the settings with the port in use.

    Raises:
        ClassyardError: if it cannot listen, or the database is not ours.
    """
    with open_door(settings) as door, open_desk(settings, own_redis=False) as desk:
        port = door.getsockname()[1]
        announce(settings.model_copy(update={"web_port": port}))
        server = uvicorn.Server(_config(make_web(desk)))
        _serve(server, door)


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Impatient,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,  # it would hold what people looked for
        server_header=False,
        date_header=True,
        proxy_headers=False,  # nobody may say that he is somebody else
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def _serve(server: uvicorn.Server, door: socket.socket) -> None:
    try:
        server.run(sockets=[door])
    except KeyboardInterrupt:
        return  # stopped as asked: nothing to say
