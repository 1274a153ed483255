"""The producer runs on what `locks/producer.txt` installs, and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
#: Hides every installed package that the lock file does not name, then works as a producer does.
PROGRAM = """
import re, sys
from importlib.metadata import packages_distributions
from pathlib import Path

lock = Path("locks/producer.txt").read_text("utf-8")
locked = set(re.findall(r"^([a-z0-9._-]+)(?:\\[[^\\]]*\\])?==", lock, re.MULTILINE)) | {"classyard"}
for module, owners in packages_distributions().items():
    if not locked & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}:
        sys.modules[module] = None
assert sys.modules["numpy"] is None and sys.modules["tensorflow"] is None

from sqlalchemy import text
from broker.app import make_app, ping
from broker.embedded import embedded_redis
from core.settings import read_settings
from db.session import open_database
from producer.cli.commands import cli
settings = read_settings(home=sys.argv[1])
with embedded_redis(settings.home):
    ping(make_app(settings, patient=False))
open_database("postgresql://nobody@localhost/none").close()
cli(["--help"], standalone_mode=False)  # loads every command
cli(["jobs"], standalone_mode=False)
"""


def test_a_producer_works_with_nothing_but_its_lock_file(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(home)],
        env={"CLASSYARD_HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "no jobs yet" in done.stdout
