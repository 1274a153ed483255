"""Jobs are steered with the real commands while a worker works on them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from db import queries
from db.clock import seconds_between
from db.models import Chunk, Job
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from collections.abc import Sequence


def status(yard: Yard, job: int) -> dict[str, Any]:
    """What `status --json` says; the accounting line holds."""
    done = yard.command("status", str(job), "--json")
    found: dict[str, Any] = json.loads(done.out)
    parts = sum(found[name] for name in ("ok", "failed", "cancelled", "pending"))
    assert found["total"] == parts, done.out
    return found


def slow(count: int, seconds: float = 0.02) -> list[str]:
    return [f"stub://sleep/{seconds}/{number}" for number in range(count)]


def seconds(yard: Yard, job: int) -> float:
    """From a job's creation to its end."""
    progress = yard.desk.database.read(queries.progress, job)
    assert progress.finished_at is not None
    return (progress.finished_at - progress.created_at).total_seconds()


def test_a_small_job_and_a_high_one_overtake_and_a_cancelled_one_stops(yard: Yard) -> None:
    yard.worker()
    few = ("--chunk-size", "10", "--priority", "low")
    alone = yard.submit(slow(50), *few)
    yard.finish(alone)
    large = yard.submit(slow(100_000), "--chunk-size", "10", "--priority", "low")
    yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0] > 90, what="some rows")
    beside = yard.submit(slow(50), *few)
    yard.finish(beside)
    assert seconds(yard, beside) < 10 * seconds(yard, alone)
    urgent = yard.submit(slow(60), "--chunk-size", "10", "--priority", "high")
    assert yard.finish(urgent) == "completed"
    # Messages of the low job wait ahead of it, but only those that workers held already went first.
    between = yard.sql(
        "SELECT count(*) FROM chunks WHERE job_id = :low AND started_at > "
        "(SELECT min(queued_at) FROM chunks WHERE job_id = :high) AND started_at < "
        "(SELECT max(started_at) FROM chunks WHERE job_id = :high)",
        low=large, high=urgent,
    )[0][0]  # fmt: skip
    assert between <= 4, f"{between} low chunks started while high ones waited"

    begun = time.monotonic()
    yard.command("jobs")  # what any command takes on a machine as busy as this one
    least = time.monotonic() - begun
    begun = time.monotonic()
    done = yard.command("cancel", str(large))
    took = time.monotonic() - begun
    assert (done.code, done.out) == (0, f"job {large} is cancelled\n")
    assert took < least + 5, f"cancel took {took:.2f} s, 'jobs' {least:.2f} s"
    yard.until(lambda: status(yard, large)["pending"] == 0, what="the end of running chunks")
    found = status(yard, large)
    assert found["status"] == "cancelled"
    assert found["ok"] > 40
    assert found["ok"] == yard.sql(
        "SELECT count(*) FROM results WHERE job_id = :id", id=large
    )[0][0]  # fmt: skip
    # A claim that was under way while the cancellation was being committed may end after it.
    late = select(func.count()).select_from(Chunk).join(Job, Job.id == Chunk.job_id)
    late = late.where(Job.id == large, seconds_between(Job.finished_at, Chunk.started_at) > 1)
    assert yard.desk.database.read(lambda connection: connection.execute(late).scalar_one()) == 0
    again = yard.command("cancel", str(large))
    assert (again.code, again.out) == (1, "")
    assert f"job {large} is cancelled" in again.err


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_is_paused_resumed_and_retried(yard: Yard) -> None:
    gate = yard.settings.home / "gate"
    needy = [f"stub://needs/{gate}?{number}" for number in range(3)]
    lost = ["stub://fail/not_an_image/1"]
    yard.worker()
    job = yard.submit([*slow(160, 0.05), *needy, *lost], "--chunk-size", "2")
    yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0], what="some rows")
    assert yard.command("pause", str(job)).code == 0
    yard.until(lambda: status(yard, job)["running"] == 0, what="the end of running chunks")
    held = status(yard, job)
    assert held["status"] == "paused"
    watched = yard.command("status", str(job), "--watch", "--json")
    assert json.loads(watched.out)["ok"] == held["ok"] < 160
    assert "paused" in yard.command("pause", str(job)).err
    resumed = yard.command("resume", str(job), "--json")
    assert json.loads(resumed.out) == {"job_id": job, "status": "running"}
    assert yard.finish(job) == "completed_with_errors"
    rows = yard.sql("SELECT position, chunk_id FROM results WHERE status = 'ok' ORDER BY 1")
    for path in (f"{gate}?{number}" for number in range(3)):
        subprocess.run(["touch", path], check=True)

    transient = yard.command("retry", str(job), "--transient", "--wait", "--json")
    assert transient.code == 3, transient.err
    assert json.loads(transient.out)["ok"] == 163
    unknown = yard.command("retry", str(job), "--code", "nonsense")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert json.loads(yard.command("retry", str(job), "--code", "empty", "--json").out) == {
        "job_id": job, "retrying": 0,
    }  # fmt: skip
    assert yard.command("retry", str(job)).out == f"job {job}: 1 images run again\n"
    assert yard.finish(job) == "completed_with_errors"
    tries = yard.sql(
        "SELECT attempts, status, count(*) AS n FROM results GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert [tuple(row) for row in tries] == [(1, "ok", 160), (2, "failed", 1), (2, "ok", 3)]
    after = yard.sql("SELECT position, chunk_id FROM results WHERE status = 'ok' ORDER BY 1")
    assert [row for row in after if row.position < 160] == rows
    final = status(yard, job)
    assert (final["ok"], final["failed"], final["retrying"]) == (163, 1, 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_that_fails_too_often_is_stopped(yard: Yard) -> None:
    uris = [f"stub://fail/http_4xx/{number}" for number in range(1000)]
    yard.worker()
    job = yard.submit(uris, "--chunk-size", "5", "--max-errors", "10")
    assert yard.finish(job) == "failed"
    yard.until(lambda: status(yard, job)["pending"] == 0, what="the end of its chunks")
    found = status(yard, job)
    # A look that a busy machine made long is followed by a longer pause, but not by hundreds of images.
    assert 10 < found["failed"] <= 200
    assert found["cancelled"] == 1000 - found["failed"]
    shown = yard.command("status", str(job))
    assert shown.code == 1
    assert "images failed, --max-errors is 10" in shown.out
    wrong = yard.command("submit", "-", "--max-errors", "many", stdin="stub://x\n")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def submit_at_once(yard: Yard, uris: Sequence[str], *words: str) -> list[dict[str, Any]]:
    """Submit the same twice at the same time."""
    listed = yard.settings.home / "listed.txt"
    listed.write_text("\n".join(uris))
    command = [sys.executable, "-m", "producer", "submit", str(listed), "-m", "digits", "--json"]
    running = [
        subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, env=yard.environment(), cwd=ROOT
        )
        for _ in range(2)
    ]
    return [json.loads(process.communicate(timeout=60)[0]) for process in running]


def test_the_same_work_twice_costs_nothing(yard: Yard) -> None:
    uris = [f"stub://sleep/0.01/{number}" for number in range(40)]
    # Two submissions under one key are one job, even at the same moment.
    both = submit_at_once(yard, uris, "--key", "once", "--chunk-size", "10")
    assert [found["total"] for found in both] == [40, 40]
    assert sorted(found["existing"] for found in both) == [False, True]
    assert len({found["job_id"] for found in both}) == 1
    first = both[0]["job_id"]
    # One child: with two, the last chunk below could begin while its equal is still in work.
    yard.worker(CLASSYARD_CONCURRENCY="1")
    assert yard.finish(first) == "completed"

    # The same content by the same model is not classified again.
    again = yard.submit(uris, "--reuse")
    assert yard.finish(again) == "completed"
    assert status(yard, again)["reused"] == 40
    rows = "SELECT position, uri, label, score, predictions, width, content_hash FROM results"
    rows += " WHERE job_id = :id ORDER BY position"
    assert yard.sql(rows, id=again) == yard.sql(rows, id=first)
    # ... unless more labels are asked for than were kept.
    more = yard.submit(uris[:5], "--reuse", "--top-k", "7")
    assert yard.finish(more) == "completed"
    assert status(yard, more)["reused"] == 0

    # A URI that another chunk of the job has recorded is not fetched again.
    twice = yard.submit([*slow(30), *slow(30)], "--chunk-size", "5")
    assert yard.finish(twice) == "completed"
    assert status(yard, twice)["reused"] == 30
    counted = dict(map(tuple, yard.sql("SELECT name, value FROM counters")))
    assert counted["images_reused"] == 70

    # What has labels by this model is left out.
    done = yard.command(
        "submit", "-", "-m", "digits", "--skip-done", "--wait", "--json",
        stdin="\n".join([*uris, "stub://new/1", "stub://new/2"]),
    )  # fmt: skip
    left = json.loads(done.out)
    assert (left["total"], left["ok"], left["skipped"]) == (2, 2, 40)
    nothing = yard.command(
        "submit", "-", "-m", "digits", "--skip-done", "--wait", "--json", stdin=uris[0]
    )
    assert json.loads(nothing.out)["status"] == "completed", nothing.err
    assert json.loads(nothing.out)["total"] == 0
