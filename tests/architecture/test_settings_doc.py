"""docs/settings.md lists every setting as the code has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from core.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "settings.md"


def test_the_table_of_settings_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/settings_table.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_has_its_row_and_its_meaning() -> None:
    page = PAGE.read_text("utf-8")
    for name, field in Settings.model_fields.items():
        assert page.count(f"| `CLASSYARD_{name.upper()}` |") == 1, name
        assert field.description, f"{name} needs a description"
