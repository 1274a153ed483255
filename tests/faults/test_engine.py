"""The engine: out of memory, hung, or a model that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab


@pytest.mark.faults_full
@pytest.mark.parametrize("kind", ["oom", "raise"])
def test_f27_an_engine_that_fails_a_chunk_ends_it_after_bounded_attempts(
    lab: Lab, kind: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    lab.workers(1)
    for _ in range(n):
        uris = [*lab.naps(7, 0.001), f"stub://{kind}/{lab.random.getrandbits(48):x}"]
        with lab.timed():
            job = lab.put(uris, chunk_size=1)
            assert lab.finish(job) == "completed_with_errors"
        [(attempts,)] = lab.sql(
            "SELECT attempts FROM chunks WHERE job_id = :job AND failed > 0", job=job
        )
        assert attempts == lab.settings.max_attempts
    lab.all_run()
    error = "MemoryError" if kind == "oom" else "RuntimeError"
    lab.verdict("F27", n, f"an engine that raises {error} for a chunk, whatever the batch")


@pytest.mark.faults_full
def test_f27_an_engine_that_is_too_slow_meets_the_soft_limit(
    open_lab: Callable[..., Lab], rounds: Callable[[int, int], int]
) -> None:
    lab = open_lab(
        fetch_timeout=0.1, decode_timeout=1, stall_timeout=31, soft_limit=32, hard_limit=34,
        lease=60,
    )  # fmt: skip
    lab.workers(1)
    # Every nap is shorter than the stall time-out allows, all together longer than the limit.
    n = rounds(1, 2)
    jobs = [lab.put(lab.naps(2, 20), chunk_size=2) for _ in range(n)]
    with lab.timed():
        again = "SELECT count(*) FROM chunks WHERE attempts > 1"
        lab.until(lambda: lab.sql(again)[0][0] == n, 90, "attempt 2")
    assert lab.recoveries[-1] < 32 + 10
    for job in jobs:
        assert lab.sql("SELECT error FROM chunks WHERE job_id = :job", job=job)[0][0]
        lab.command("cancel", str(job))


@pytest.mark.faults_full
@pytest.mark.parametrize("flaw", ["missing", "corrupt"])
def test_f28_a_worker_without_its_model_takes_no_message(
    lab: Lab, flaw: str, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(1, 5)
    folder = lab.settings.home / "models" / "broken"
    if flaw == "corrupt":
        folder.mkdir(parents=True)
        folder.joinpath("model.toml").write_text(BROKEN)
        folder.joinpath("labels.txt").write_text("cat\ndog\n")
        folder.joinpath("model.keras").write_bytes(b"PK\3\4 cut off")
    lab.put(lab.naps(8))
    for _ in range(n):
        worker = lab.launch("worker", CLASSYARD_PRELOAD="broken", CLASSYARD_ENGINE="litert")
        assert worker.process.wait(240) == 1
        said = worker.log.read_text()
        assert "classyard worker: " in said
        assert ("no model 'broken'" if flaw == "missing" else "model.keras: not a whole") in said
        assert not lab.sql("SELECT 1 FROM chunks WHERE attempts > 0 OR status <> 'queued'")
    lab.workers(1)
    lab.verdict("F28", n, f"the model to preload is {flaw}: exit status 1, no message taken")


BROKEN = """
labels = "labels.txt"
[input]
height = 8
width = 8
preprocessing = "unit"
[output]
activation = "softmax"
"""
