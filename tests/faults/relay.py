"""`python -m tests.faults.relay ADDRESS:PORT=SOCKET...`: offer unix sockets on TCP, as another host does."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


async def main(places: dict[tuple[str, int], str]) -> None:
    """Serve for ever."""
    servers = [
        await asyncio.start_server(partial(_relay, path), address, port)
        for (address, port), path in places.items()
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _relay(path: str, reader: Reader, writer: Writer) -> None:
    try:
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(source: Reader, sink: Writer) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


if __name__ == "__main__":
    places = {}
    for word in sys.argv[1:]:
        place, _, path = word.partition("=")
        address, _, port = place.rpartition(":")
        places[address, int(port)] = path
    asyncio.run(main(places))
