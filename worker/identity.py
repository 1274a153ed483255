"""Who this worker is, so that others can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from core.prepare import serving_engine, visible_gpus
from db.workers import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """A process table: process ids mean the same for everyone in it."""

    host: str
    namespace: str

    @property
    def prefix(self) -> str:
        """How the ids of workers in this place begin."""
        return f"{self.host}/{self.namespace}:"


def here() -> Place:
    """Return the place this process runs in; two containers may share a host name."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        namespace = "0"
    return Place(socket.gethostname(), namespace)


def describe(settings: Settings, slots: int) -> WorkerInfo:
    """Return a new worker's description; its id is never used again."""
    place = here()
    gpus = visible_gpus()
    engine = "stub" if settings.engine == "stub" else serving_engine(settings)
    return WorkerInfo(
        id=f"{place.prefix}{os.getpid()}:{uuid4().hex[:8]}",
        host=place.host,
        pid=os.getpid(),
        queue=settings.queue,
        slots=slots,
        engine=engine,
        device=f"{len(gpus)} GPU" if engine == "keras" and gpus else "CPU",
    )


def dead_neighbours(workers: Iterable[WorkerInfo]) -> list[str]:
    """Return the ids of workers of this place whose process is gone."""
    prefix = here().prefix
    return [w.id for w in workers if w.id.startswith(prefix) and not is_alive(w.pid)]


def is_alive(pid: int) -> bool:
    """Whether a process of this place exists (a zombie does not count)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True  # no /proc: the signal has answered
    return state != "Z"


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slots_for(settings: Settings) -> int:
    """Return how many children a worker gets: as told, else one per GPU, else one per core."""
    if settings.concurrency:
        return settings.concurrency
    if settings.engine != "stub" and serving_engine(settings) == "keras" and visible_gpus():
        return len(visible_gpus())
    return cores()
