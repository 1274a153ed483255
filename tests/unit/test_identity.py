"""How many children fit: the cores a process is bound to, within what its control groups allow."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest
import typer

from core.errors import SettingsError
from core.settings import read_settings
from producer.cli.options import children
from worker.identity import cores, cpu_quota, slots_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, 4.0),
        ("0::/host/path", {"cpu.max": "200000 100000"}, 2.0),
        ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("4:memory:/", {"cpu.max": "100000 100000"}, math.inf),
        ("0::/", {"cpu.max": "nonsense"}, math.inf),
        ("0::/", {}, math.inf),
    ],
)  # fmt: skip
def test_the_quota_of_the_control_groups(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float
) -> None:
    own = tmp_path / "membership"
    own.write_text(membership + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cpu_quota(tmp_path, own) == quota
    assert cpu_quota(tmp_path, tmp_path / "missing") == math.inf


def test_auto_is_one_child_per_core_that_we_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
    monkeypatch.setattr("worker.identity.cpu_quota", lambda: 0.5)
    assert cores() == 1
    monkeypatch.setenv("CLASSYARD_CONCURRENCY", "auto")
    settings = read_settings(engine="stub")
    assert settings.concurrency == 0
    assert slots_for(settings) == 1
    assert slots_for(read_settings(engine="stub", concurrency=children("3"))) == 3


@pytest.mark.parametrize("word", ["0", "-1", "all", "1.5", ""])
def test_a_number_of_children_that_makes_no_sense(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        children(word)
    if word not in {"0"}:
        with pytest.raises(SettingsError, match="CLASSYARD_CONCURRENCY"):
            read_settings(concurrency=word)
