"""The first thing a user does: `classyard demo`, offline, on a machine where nothing is set."""

from __future__ import annotations

import re
import shlex
import sqlite3
from typing import TYPE_CHECKING

from tests.acceptance.conftest import left_over

if TYPE_CHECKING:
    from tests.support.yard import Yard


def test_demo_classifies_prints_how_to_ask_for_more_and_leaves_nothing_running(
    ready: Yard,
) -> None:
    done = ready.command("demo")
    assert done.code == 0, done.err
    assert "60 submitted = 60 ok + 0 failed + 0 cancelled + 0 pending" in re.sub(
        r"\s+", " ", done.out
    )
    home = ready.settings.home
    (line,) = [line for line in done.out.splitlines() if line.startswith("or in SQL:")]
    program, path, query = shlex.split(line.removeprefix("or in SQL:"))
    assert program == "sqlite3"
    connection = sqlite3.connect(path)
    assert len(connection.execute(query).fetchall()) == 10
    rows = connection.execute("SELECT uri, label FROM results WHERE job_id = 1").fetchall()
    assert len(rows) == 60
    right = sum(f"/digit-{label}-" in uri for uri, label in rows)
    assert right >= 58
    assert left_over(home) == []
    assert not (home / "redis" / "redis.sock").exists()

    again = ready.command("demo", "--json")
    assert again.code == 0, again.err
    assert '"ok": 60' in again.out
    assert connection.execute("SELECT count(*) FROM results").fetchone() == (120,)
    connection.close()
    listed = ready.command("jobs")
    assert re.search(r"^ *2 +60 +60 +0 +0 +completed +digits +demo", listed.out, re.MULTILINE)
