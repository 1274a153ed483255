"""A job full of traps: every position gets its one row, with the right code, in bounded time."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from producer.cli.local import SAMPLES
from tests.integration.test_fetch_http import Site
from tests.support.badinput import MOST_BYTES, Row, files, manifest, names, ports, web
from tests.support.yard import Running, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_24
GOOD = 3000
#: Megabytes that a child may ever hold.
RSS_LIMIT = 600
#: Slow answers take 6 s, twice, at the same time; the rest is margin for a busy machine.
SECONDS_LIMIT = 60


@pytest.fixture
def site() -> Iterator[Site]:
    opened = Site()
    yield opened
    opened.stop()


def strange_worker(yard: Yard) -> Running:
    running = yard.launch("tests.support.strange_worker")
    yard.until(lambda: yard.sql("SELECT count(*) FROM workers")[0][0], what="the worker")
    return running


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_every_position_ends_as_it_must(home: Path, broker_url: str, site: Site) -> None:
    with ExitStack() as stack:
        strange = stack.enter_context(ports())
        settings = read_settings(
            home=home, broker_url=broker_url, concurrency=2, allow_nets="127.0.0.1/32",
            ports=f"80,{site.port},{strange.closed},{strange.deaf},{strange.plain}",
            connect_timeout=1, read_timeout=2, fetch_timeout=6, fetch_tries=2, per_host=128, decode_timeout=3,
            fetch_ahead=64, max_bytes=MOST_BYTES,
        )  # fmt: skip
        yard = stack.enter_context(Yard(settings))
        rows = [*names(strange, site), *web(site), *files(home / "pictures"), *samples()]
        random.Random(SEED).shuffle(rows)
        worker = strange_worker(yard)
        children = worker.children()
        began = time.monotonic()
        roots = [word for number in range(3) for word in ("--root", f"{home}/pictures/{number}/in")]
        done = yard.command(
            "submit", "-", "--model", "digits", *roots, "--chunk-size", "1800", "--json",
            stdin=manifest(rows),
        )  # fmt: skip
        assert done.code == 0, done.err
        assert yard.finish(json.loads(done.out)["job_id"], 90) == "completed_with_errors"
        took = time.monotonic() - began
        found = yard.sql("SELECT * FROM results ORDER BY position")
        peak = max(peak_megabytes(pid) for pid in children)
        assert worker.children() == children, "a child died"
    assert [(row.position, row.uri) for row in found] == [
        (position, row.uri) for position, row in enumerate(rows)
    ]
    wrong = [
        (row.uri, row.code, got.error_code, got.error)
        for row, got in zip(rows, found, strict=True)
        if got.error_code != row.code or row.word not in (got.error or "")
    ]
    assert not wrong, "\n".join(map(str, wrong))
    digits = [got for got in found if "/digit-" in got.uri]
    assert GOOD == len(digits) >= 0.85 * len(rows)
    # The model itself is wrong about 2 of the 60 samples, and always in the same way.
    assert len({(got.uri, got.label) for got in digits}) == len({got.uri for got in digits})
    assert sum(f"/digit-{got.label}-" in got.uri for got in digits) >= 0.95 * GOOD
    print(f"\n{len(rows)} positions in {took:.1f} s, peak RSS of a child {peak:.0f} MB")
    assert peak < RSS_LIMIT
    assert took < SECONDS_LIMIT


def samples() -> list[Row]:
    pictures = sorted(SAMPLES.glob("*.png"))
    return [Row(pictures[number % len(pictures)].as_uri(), None) for number in range(GOOD)]
