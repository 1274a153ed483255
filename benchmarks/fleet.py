"""A fleet of thousands of workers on one Redis and one PostgreSQL: the real dispatch, sweep and SQL.

Only the processes are missing: the workers are rows, and a few processes here act for all their
children, with the worker's own code from the message to the commit. A tenth of the workers dies.
"""

from __future__ import annotations

import base64
import json
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kombu.compression import decompress
from sqlalchemy import text

from benchmarks.lab import Lab, desk_only, manifest
from benchmarks.measure import Figure, conclude, number, parser, say
from broker.app import list_key, make_app
from broker.dispatch import Dispatcher
from broker.sweep import sweep
from core.modelspec import read_model
from core.types import Priority
from db import chunks, queries, workers
from db.chunks import Owner
from db.session import open_database
from db.workers import WorkerInfo
from worker.message import read_message
from worker.runtime import Runtime
from worker.stub import StubClassifier
from worker.telemetry import Delivery, Telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.settings import Settings
    from producer.submit import Desk
    from worker.message import ChunkMessage

#: Images in a chunk: few, for it is the chunks that are counted here.
CHUNK = 8
PROCESSES = 4


class Stubs:
    """The models of a simulated child: one stub for all."""

    def __init__(self, settings: Settings) -> None:
        self._stub = StubClassifier(read_model("digits", settings.models_path).labels)

    def get(self, name: str, fingerprint: str, *, embeddings: bool = False) -> StubClassifier:
        """Return the stub."""
        del name, fingerprint, embeddings
        return self._stub


@dataclass(frozen=True)
class Fleet:
    """Workers that exist as rows."""

    desk: Desk
    infos: Sequence[WorkerInfo]

    def beat(self) -> float:
        """Give every worker's sign of life, one transaction each; return the seconds."""
        started = time.perf_counter()
        for info in self.infos:
            self.desk.database.write(workers.heartbeat, info)
        return time.perf_counter() - started

    def die(self, share: float) -> int:
        """Let a share of the workers claim all they can and fall silent; return their chunks."""
        dead = self.infos[: round(len(self.infos) * share)]
        client, key = _queue(self.desk)
        held = 0
        for info in dead:
            for child in range(info.slots):
                message = _message(client.rpop(key))
                owner, lease = Owner(info.id, child), self.desk.settings.lease
                held += self.desk.database.write(
                    chunks.claim, message.job_id, message.chunk_id, message.digest, owner, lease
                ) is not None  # fmt: skip
        silent = text("UPDATE workers SET last_seen = last_seen - interval '1 hour' WHERE id = :id")
        for info in dead:
            self.desk.database.write(lambda c, worker=info.id: c.execute(silent, {"id": worker}))
        return held

    def work(self, seconds: float) -> float:
        """Work for some time, or until nothing waits; return the seconds that it took."""
        alive = self.infos[len(self.infos) // 5 :]
        parts = [alive[n::PROCESSES] for n in range(PROCESSES)]
        with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
            list(processes.map(_imported, range(PROCESSES)))  # started and ready
            started = time.perf_counter()
            settings = [self.desk.settings] * PROCESSES
            list(processes.map(serve, settings, parts, [seconds] * PROCESSES))
        return time.perf_counter() - started


def serve(settings: Settings, infos: Sequence[WorkerInfo], seconds: float) -> None:
    """Be the children of some workers for some time, or until no message waits."""
    until = time.monotonic() + seconds
    database, app = open_database(settings.database), make_app(settings)
    dispatcher = Dispatcher(app, database, settings)
    models: Any = Stubs(settings)
    watchdog: Any = nullcontext()  # a chunk at a time, and none that hangs
    runtimes = [
        Runtime(dispatcher, models, watchdog, info.id, lambda: None, Telemetry()) for info in infos
    ]
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        key = list_key(settings.queue, Priority.NORMAL)
        chance = random.Random(0)  # noqa: S311
        while time.monotonic() < until and (raw := client.rpop(key)) is not None:
            chance.choice(runtimes).process(_message(raw), Delivery())
    database.close()
    app.close()


def _imported(number: int) -> int:
    return number


def main() -> None:
    """Build the fleet, let a tenth of it die, sweep, and work the job off."""
    made = parser(__doc__)
    made.add_argument("--workers", type=int, default=2000)
    made.add_argument("--slots", type=int, default=2, help="of each worker")
    made.add_argument("--seconds", type=float, default=45, help="to work for")
    options = made.parse_args()
    count = 40 if options.quick else options.workers
    infos = [
        WorkerInfo(f"host{n}/1:{n}:sim", f"host{n}", n, "classyard", options.slots, "stub", "CPU")
        for n in range(count)
    ]
    total = count * options.slots
    # Lives long: the workers here give a sign of life once, before everything.
    given = {"engine": "stub", "dead_after": 1800.0}
    with tempfile.TemporaryDirectory() as folder, desk_only("postgresql", **given) as desk:
        fleet = Fleet(desk, infos)
        beating = fleet.beat()
        uris = [f"https://pictures.example.org/{n:09d}.jpg" for n in range(3 * total * CHUNK)]
        listed = manifest(Path(folder), uris)
        started = time.perf_counter()
        job = Lab(desk, None).submit(listed, chunk_size=CHUNK)
        submitting = time.perf_counter() - started
        client, key = _queue(desk)
        memory, messages = client.info("memory")["used_memory"] / 2**20, client.llen(key)
        say(f"{count} workers, {total} slots; {3 * total} chunks submitted in {submitting:.1f} s")
        held = fleet.die(0.1)
        started = time.perf_counter()
        swept = sweep(desk.app, desk.database, desk.settings)
        sweeping = time.perf_counter() - started
        if swept.dead != held:
            raise RuntimeError(f"{swept.dead} chunks freed of {held} that dead workers held")
        worked = fleet.work(options.seconds)
        sweep(desk.app, desk.database, desk.settings)
        ended = desk.database.read(queries.progress, job)
        started = time.perf_counter()
        desk.database.read(queries.progress, job)
        asking = time.perf_counter() - started
    if ended.ok != ended.chunks_done * CHUNK or ended.ok + ended.pending != len(uris):
        raise RuntimeError(f"{ended.ok} images in {ended.chunks_done} chunks of {CHUNK}")
    fleet_name = f"{count:,} workers, {total:,} slots"
    conclude(options, [
        Figure(f"{fleet_name}: chunks/s through SQL and Redis", ended.chunks_done / worked,
               "chunks/s", 15, more_is_better=True, spread="n=1",
               note=f"{ended.chunks_done:,} chunks of {CHUNK}, {PROCESSES} processes act for all"),
        Figure(f"{fleet_name}: a sweep that frees a tenth", sweeping, "s", 15,
               more_is_better=False, spread="n=1", note=f"{held:,} chunks freed and sent again"),
        Figure(f"{fleet_name}: all signs of life", beating, "s", 10, more_is_better=False,
               spread="n=1", note="one connection; each worker has 10 s"),
        Figure(f"{fleet_name}: Redis with a full window", memory, "MiB", 512,
               more_is_better=False, spread="n=1", note=f"{messages:,} messages"),
        Figure(f"{fleet_name}: status, the query", asking, "s", 0.2, more_is_better=False,
               spread="n=1", note=f"{number(ended.chunks_done)} chunks"),
    ])  # fmt: skip


def _queue(desk: Desk) -> tuple[Any, str]:
    client = desk.app.connection_for_write().default_channel.client
    return client, list_key(desk.settings.queue, Priority.NORMAL)


def _message(raw: bytes | None) -> ChunkMessage:
    """Unpack what kombu put on the list."""
    assert raw is not None, "the queue is empty"
    stored = json.loads(raw)
    body = base64.b64decode(stored["body"])
    if kind := stored["headers"].get("compression"):
        body = decompress(body, kind)
    return read_message(json.loads(body)[1])


if __name__ == "__main__":
    main()
