"""Progress is honest, and a look ahead creates nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.yard import Yard

SAMPLES = "producer/samples/digits"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def status(yard: Yard, job: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(yard.command("status", str(job), "--json").out)
    return found


def test_progress_says_what_limits_and_what_is_in_the_way(yard: Yard) -> None:
    stuck = yard.submit(["stub://a"])
    assert status(yard, stuck)["obstacle"].startswith("no worker serves queue 'classyard'")
    text = yard.command("status", str(stuck)).out
    assert "waiting: no worker serves queue" in text
    yard.worker()
    assert yard.finish(stuck) == "completed"

    job = yard.submit([f"stub://sleep/0.02/{number}" for number in range(600)], "--chunk-size", "5")
    yard.until(lambda: yard.sql("SELECT count(*) FROM results")[0][0] > 100, what="some rows")
    found = status(yard, job)
    # Two children, 20 ms per image: never more than 100 images per second.
    assert 20 < found["recent_rate"] <= 100
    assert found["limit"].startswith("predict-bound: ")
    assert 0 < found["seconds_left"] <= found["pending"] / found["recent_rate"] * 1.01
    assert found["obstacle"] == ""
    assert yard.command("pause", str(job)).code == 0
    assert status(yard, job)["seconds_left"] is None


def test_the_error_that_sends_chunks_back_is_named(yard: Yard) -> None:
    raising = yard.submit(["stub://raise/1"])
    yard.worker(CLASSYARD_SWEEP_INTERVAL="600")
    yard.until(lambda: status(yard, raising)["obstacle"], what="the error of the chunk")
    assert "RuntimeError: asked for by stub://raise/1" in status(yard, raising)["obstacle"]


def test_a_dry_run_looks_and_creates_nothing(yard: Yard, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"broken-{number}.jpg").write_bytes(b"no picture")
    (tmp_path / "gone.txt").write_text(
        "\n".join([*(f"file://{tmp_path}/gone-{n}.jpg" for n in range(10))])
    )
    words = ("submit", SAMPLES, str(tmp_path), str(tmp_path / "gone.txt"), "-m", "digits")
    done = yard.command(*words, "--dry-run", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    images = found["total"] - 40
    assert images > 0
    assert (found["sampled"], found["answered"]) == (found["total"], found["total"])
    assert found["reached"] == images + 30
    assert found["failures"] == {"not_an_image": 30, "file_not_found": 10}
    assert found["failure_rate"] == pytest.approx(40 / found["total"])
    assert found["formats"] == {"PNG": images, "unknown": 30}
    assert found["seconds"] is None
    assert yard.sql("SELECT count(*) FROM jobs")[0][0] == 0

    # Once a worker has served the model, the duration is expected from its rate.
    yard.worker()
    seen = yard.submit([f"stub://sleep/0.02/{number}" for number in range(100)])
    yard.finish(seen)
    many = "\n".join(f"https://example.invalid/{number}.jpg" for number in range(5000))
    listed = tmp_path / "many.txt"
    listed.write_text(many)
    text = yard.command(
        "submit", str(listed), "-m", "digits", "--dry-run", CLASSYARD_SCHEMES="file"
    )
    assert "5,000 images, 100 of 100 sampled were looked at" in text.out, text.err
    assert "failing    100% (uri_scheme 100)" in text.out
    record = json.loads(
        yard.command(
            "submit", str(listed), "-m", "digits", "--dry-run", "--json", CLASSYARD_SCHEMES="file"
        ).out
    )
    assert 50 <= record["seconds"] < 150  # 5,000 images, 20 ms each, two slots: 50 s at best
