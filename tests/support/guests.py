"""Children of one parent that ask the same host at once, as a worker's do: `python -m tests.support.guests`.

Reads from standard input `{"children", "threads", "urls", "limits"}`; writes one line of JSON per
child with the outcomes. The first child ends itself inside its first request if "crash" is true.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.settings import read_settings
from core.types import Failure
from worker.fetch import Fetcher
from worker.fetch.board import Board


def main() -> None:
    asked = json.load(sys.stdin)
    board = Board()
    pids = []
    for number in range(asked["children"]):
        pid = os.fork()
        if not pid:
            _ask(board, asked["urls"][number :: asked["children"]], number, asked)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


def _ask(board: Board, urls: list[str], number: int, asked: dict[str, Any]) -> None:
    if asked.get("crash") and not number:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    fetcher = Fetcher(read_settings(**asked["limits"]).fetch_limits, board=board)
    with ThreadPoolExecutor(asked["threads"]) as pool:
        found = list(pool.map(lambda url: fetcher.fetch(url, []), urls))
    codes = [one.code if isinstance(one, Failure) else one.decode() for one in found]
    os.write(1, json.dumps(codes).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
