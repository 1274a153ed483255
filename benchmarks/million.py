"""Jobs of a million stub images: level from the first tenth to the last, in bounded memory."""

from __future__ import annotations

import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.lab import lab, manifest, resident
from benchmarks.measure import Figure, Samples, conclude, number, parser, say
from broker.app import make_app
from db import queries

if TYPE_CHECKING:
    from benchmarks.lab import Lab

#: Small chunks: as many of them as ten million images of a slow model would need.
CHUNK = 256
#: A tenth takes some seconds: a neighbour on the machine is seen in one job, not in three.
JOBS = 3
#: Images recorded up to a moment, by chunk in the order they ended.
ENDS = text("SELECT size, finished_at FROM chunks WHERE job_id = :job ORDER BY finished_at")


class Watch:
    """Looks at Redis and at the children every quarter of a second, in a thread of its own."""

    def __init__(self, yard: Lab) -> None:
        self.redis: list[int] = []
        self.children: list[int] = []
        self._yard = yard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        app = make_app(self._yard.desk.settings)
        children = self._yard.children()
        with app.connection_for_write() as connection:
            client = connection.default_channel.client
            while not self._stop.wait(0.25):
                self.redis.append(int(client.info("memory")["used_memory"]))
                self.children.append(max(resident(child) for child in children))


def main() -> None:
    """Run the jobs, one after the other, and look at them from all sides."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = made.parse_args()
    count, jobs = (50_000, 1) if options.quick else (1_000_000, JOBS)
    with tempfile.TemporaryDirectory() as folder, lab(options.database, engine="stub") as yard:
        uris = [f"https://pictures.example.org/set/{n:09d}.jpg" for n in range(count)]
        listed = manifest(Path(folder), uris)
        warm = manifest(Path(folder), uris[: count // 10])
        yard.finish(yard.submit(warm, chunk_size=4096))  # what a child loads once is no growth
        levels, rates = [], []
        with Watch(yard) as watch:
            for _ in range(jobs):
                job = yard.submit(listed, chunk_size=CHUNK)
                ended = yard.finish(job)
                rates.append(ended.rate)
                tenths = _tenths(yard, job, count)
                levels.append(tenths[-1] / tenths[0])
                say(f"images/s, tenth by tenth: {', '.join(map(number, tenths))}")
        looks = [_status_seconds(yard, job) for _ in range(11)]
    mark = max(1, len(watch.children) // 20)
    growth = 100 * (max(watch.children[-mark:]) / max(watch.children[:mark]) - 1)
    level, rate, status = (Samples(tuple(values)) for values in (levels, rates, looks))
    what = f"{count:,} stub images, {options.database}"
    note = f"{ended.chunks:,} chunks, {number(rate.middle)} images/s"
    conclude(options, [
        Figure(f"{what}: rate of the last tenth / first tenth", level.middle, "x", 0.9,
               more_is_better=True, spread=level.spread, note=note),
        Figure(f"{what}: Redis memory, greatest", max(watch.redis) / 2**20, "MiB", 64,
               more_is_better=False, spread=f"{len(watch.redis)} looks"),
        Figure(f"{what}: growth of a child's memory", growth, "%", 5,
               more_is_better=False, spread=f"{len(watch.children)} looks",
               note=f"ends at {number(watch.children[-1] / 2**20)} MiB"),
        Figure(f"{what}: status, the query", status.middle, "s", 0.2,
               more_is_better=False, spread=status.spread),
    ])  # fmt: skip


def _status_seconds(yard: Lab, job: int) -> float:
    start = time.perf_counter()
    yard.desk.database.read(queries.progress, job)
    return time.perf_counter() - start


def _tenths(yard: Lab, job: int, count: int) -> list[float]:
    """Return the images per second of each tenth of a job."""
    started = yard.desk.database.read(queries.progress, job).started_at
    assert started is not None
    marks, done, ended = [(0, started)], 0, 0
    for size, at in yard.rows(ENDS, job=job):
        done += size
        if done * 10 >= count * (ended + 1):
            ended += 1
            marks.append((done, yard.moment(at)))
    return [
        (last - first) / (end - begin).total_seconds()
        for (first, begin), (last, end) in pairwise(marks)
    ]


if __name__ == "__main__":
    main()
