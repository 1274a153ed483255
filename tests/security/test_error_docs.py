"""docs/errors.md tells every code, and whether it is transient, as the code does."""

from __future__ import annotations

import re

from core.errors import Code
from tests.support.yard import ROOT


def test_every_code_is_documented_as_it_is() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (transient|permanent) \|", text, re.MULTILINE)
    assert rows == [(code.value, "transient" if code.transient else "permanent") for code in Code]
