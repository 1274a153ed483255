"""The yard against one Celery task per image with Keras `predict` (`benchmarks/naive.py`)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lab import LOOK, lab, manifest
from benchmarks.measure import conclude, in_turns, parser
from benchmarks.networks import models_dir
from benchmarks.pictures import pictures
from broker.app import broker_url
from core.process import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGET = 10.0
MODEL = "mobilenet_v2"
PATIENCE = 240


@contextmanager
def naive_worker(
    url: str, models: Path, paths: list[str], table: Path
) -> Iterator[Callable[[], float]]:
    """Start the baseline's worker on the same Redis; yield what measures it."""
    database = sqlite3.connect(table, timeout=30)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE results (path TEXT, classes TEXT)")
    given = {
        "NAIVE_URL": url,
        "NAIVE_MODELS": str(models),
        "NAIVE_MODEL": MODEL,
        "NAIVE_TABLE": str(table),
    }
    os.environ.update(given, TF_CPP_MIN_LOG_LEVEL="2")  # noqa: TID251 - it reads them when imported
    from celery import group

    from benchmarks import naive

    command = [sys.executable, "-m", "celery", "-A", "benchmarks.naive", "worker"]
    cores = str(len(os.sched_getaffinity(0)))
    process = subprocess.Popen(
        [*command, "-c", cores, "-l", "ERROR"],
        preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here at this moment
    )

    def rows() -> int:
        return int(database.execute("SELECT count(*) FROM results").fetchone()[0])

    def rate() -> float:
        before = rows()
        start = time.perf_counter()
        group(naive.classify.s(path) for path in paths).apply_async()
        while rows() < before + len(paths):
            if time.perf_counter() > start + PATIENCE:
                raise TimeoutError(f"{rows() - before} of {len(paths)} images in {PATIENCE} s")
            time.sleep(LOOK)
        return len(paths) / (time.perf_counter() - start)

    try:
        yield rate
    finally:
        process.terminate()
        process.wait(30)
        database.close()


def main() -> None:
    """Compare."""
    options = parser(__doc__).parse_args()
    ours, theirs, pairs = (32, 8, 1) if options.quick else (1000, 500, 5)
    models = models_dir(MODEL)
    paths = [str(path) for path in pictures(ours)]
    with (
        tempfile.TemporaryDirectory() as folder,
        lab(engine="litert", models_dir=models, preload=(MODEL,)) as yard,
        naive_worker(
            broker_url(yard.desk.settings), models, paths[:theirs], Path(folder) / "naive.db"
        ) as naive_rate,
    ):
        listed = manifest(Path(folder), paths)
        turns = in_turns(lambda: yard.rate(listed, MODEL), naive_rate, pairs)
    conclude(options, [turns.figure("against one Celery task per image, Keras predict", TARGET)])


if __name__ == "__main__":
    main()
