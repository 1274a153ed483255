"""A loopback HTTP server that answers every request after a fixed time: pictures from far away."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class _Answering(asyncio.Protocol):
    """One kept-alive connection. No framework: the server shares the machine that is measured."""

    def __init__(self, bodies: dict[bytes, bytes], latency: float) -> None:
        self._bodies = bodies
        self._latency = latency
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, self._rest = self._rest.partition(b"\r\n\r\n")
            # The folder means nothing: a store's bucket, for one that speaks S3.
            body = self._bodies[head.split(b" ", 2)[1].rpartition(b"/")[2].partition(b"?")[0]]
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            asyncio.get_running_loop().call_later(
                self._latency, self._transport.write, answer % len(body) + body
            )


@contextmanager
def slow_server(paths: Sequence[Path], latency: float) -> Iterator[tuple[int, list[str]]]:
    """Serve files from memory in a process of its own; yield the port and their URIs."""
    context = get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_serve, args=(other, paths, latency), daemon=True)
    process.start()
    try:
        port = pipe.recv()
        yield port, [f"http://127.0.0.1:{port}/{path.name}" for path in paths]
    finally:
        process.terminate()
        process.join(10)


def _serve(pipe: Any, paths: Sequence[Path], latency: float) -> None:
    bodies = {path.name.encode(): path.read_bytes() for path in paths}

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answering(bodies, latency), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())
