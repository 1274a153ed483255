"""Who this worker is, so that others can tell whether it still lives."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from core.gpus import gpu_memory, usable_gpus
from core.prepare import serving_engine
from db.workers import WorkerInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.settings import Settings


#: Children that share a GPU at most; the cores and the bytes of its memory that each must find.
MOST_PER_GPU: Final = 8
CORES_PER_CHILD: Final = 4
MEMORY_PER_CHILD: Final = 4 * 2**30


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
    gpus = usable_gpus()
    told = settings.engine in {"stub", "openvino"}
    engine = settings.engine if told else serving_engine(settings)
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
    """Return how many cores this process may use: those it is bound to, within its CPU quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(bound or 1, cpu_quota())))


def cpu_quota(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float:
    """Return how many cores' time this process's control groups allow it; infinity without a limit.

    A container that may use two cores of a large host still sees all of them.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    least = math.inf
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / "cpu" if controllers else groups
        # In a container the path is often that of the host: then the top is our own group.
        path = Path(place.lstrip("/"))
        for folder in (path, *path.parents):
            least = min(least, _quota_of(top / folder))
    return least


def _quota_of(group: Path) -> float:
    """Read a control group's quota: version 2, else version 1."""
    try:
        if (group / "cpu.max").exists():
            words = (group / "cpu.max").read_text().split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [(group / name).read_text().strip() for name in names]
        quota, period = float(words[0]), float(words[1])
    except (OSError, ValueError, IndexError):
        return math.inf  # no such group, or "max"
    return quota / period if quota > 0 < period else math.inf


def slots_for(settings: Settings) -> int:
    """Return how many children a worker gets: as told, else some per GPU, else one per core."""
    if settings.concurrency:
        return settings.concurrency
    gpus = usable_gpus()
    if settings.engine != "stub" and serving_engine(settings) == "keras" and gpus:
        return len(gpus) * children_per_gpu(cores() // len(gpus), gpu_memory())
    return cores()


def children_per_gpu(cores: int, memory: int) -> int:
    """Return how many children share a GPU that has `memory` bytes, and `cores` to feed it.

    Threads that decode in one process take turns at Python's lock: in four processes 16 cores decode
    twice as much as in one (docs/benchmarks.md). Each holds its own copy of the model on the GPU.
    """
    return max(1, min(MOST_PER_GPU, cores // CORES_PER_CHILD, memory // MEMORY_PER_CHILD))
