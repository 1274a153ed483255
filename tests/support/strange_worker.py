"""A real worker with a resolver of the test's own, and without root's right to read everything.

`python -m tests.support.strange_worker`; names below `.test` are resolved here, all others for real.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import sys
from typing import Any

from tests.support.yard import ROOT

#: Capabilities that let root pass by file permissions, and the prctl that gives them up for good.
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
GOOD, INNER = "127.0.0.1", "10.0.0.1"

_real = socket.getaddrinfo
_turns = itertools.count()


def resolve(host: str, port: int, *rest: Any) -> list[tuple[Any, ...]]:
    """Answer like `socket.getaddrinfo`."""
    if not host.endswith(".test"):
        return list(_real(host, port, *rest))
    match host.partition(".")[0]:
        case "good":
            found = [GOOD]
        case "mixed":
            found = [GOOD, INNER]
        case "rebinding":
            found = [GOOD if next(_turns) % 2 else INNER]
        case "inner6":
            found = ["::ffff:10.0.0.1"]
        case "silent":
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        case _:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
    family = {False: socket.AF_INET, True: socket.AF_INET6}
    return [(family[":" in to], socket.SOCK_STREAM, 6, "", (to, port)) for to in found]


def main() -> None:
    """Give up the right, once; then be the worker."""
    if os.geteuid() == 0 and "lowered" not in sys.argv:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "tests.support.strange_worker", "lowered"])
    sys.argv = ["worker"]
    socket.getaddrinfo = resolve  # type: ignore[assignment]
    from worker.__main__ import main as work

    work()


if __name__ == "__main__":
    main()
