"""The engine: out of memory, hung, or a model that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.checker import check
from tests.faults.rows import sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab


@pytest.mark.faults_full
@sqlite
@pytest.mark.parametrize("kind", ["oom", "raise"])
def test_f27_an_engine_that_fails_a_chunk_ends_it_after_bounded_attempts(
    lab: Lab, kind: str
) -> None:
    [worker] = lab.workers(1)
    good = lab.put(lab.naps(40, 0.001))
    uris = [*lab.naps(7, 0.001), f"stub://{kind}/x"]
    with lab.timed():
        bad = lab.put(uris)
        assert lab.finish(bad) == "completed_with_errors"
    codes = {
        row.error_code for row in lab.sql("SELECT error_code FROM results WHERE job_id=:j", j=bad)
    }
    assert codes == {"internal"}
    attempts = lab.sql("SELECT attempts FROM chunks WHERE job_id = :j", j=bad)[0][0]
    assert attempts == lab.settings.max_attempts
    assert lab.finish(good) == "completed"
    assert worker.process.poll() is None


@pytest.mark.faults_full
@sqlite
@pytest.mark.timeout(300)
def test_f27_an_engine_that_is_too_slow_meets_the_soft_limit(open_lab: Callable[..., Lab]) -> None:
    lab = open_lab(fetch_timeout=0.1, stall_timeout=31, soft_limit=32, hard_limit=34, lease=60)
    lab.workers(1)
    # Every nap is shorter than the stall time-out allows, all together longer than the limit.
    job = lab.put([*lab.naps(2, 20), *lab.naps(6, 0.001)], chunk_size=8)
    with lab.timed():
        lab.until(lambda: lab.sql("SELECT 1 FROM chunks WHERE attempts > 1"), 90, "attempt 2")
    assert lab.recoveries[-1] < 32 + 10
    error = lab.sql("SELECT error FROM chunks WHERE job_id = :j", j=job)[0][0]
    assert error
    lab.write("F27", 1, check(lab, {}), f"ended by the watchdog or the soft limit: {error}")


@pytest.mark.faults_full
@sqlite
def test_f28_a_worker_without_its_model_takes_no_message(lab: Lab) -> None:
    lab.put(lab.naps(8))
    worker = lab.launch("worker", CLASSYARD_PRELOAD="no_such_model")
    assert worker.process.wait(40) != 0
    assert "no_such_model" in worker.log.read_text()
    assert not lab.sql("SELECT 1 FROM chunks WHERE attempts > 0 OR status <> 'queued'")
    lab.workers(1)
    lab.verdict("F28", 1, "CLASSYARD_PRELOAD names a model that is not there: exit status not 0")
