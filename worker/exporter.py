"""`python -m worker.exporter`: serve a worker's metrics over HTTP, adding up its processes' files.

A process of its own: the parent has no threads, and a slow reader must not keep it waiting. It ends
with the parent and then removes the files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from core.errors import ClassyardError
from core.exposition import serve
from core.process import die_with_parent


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    die_with_parent()
    try:
        if os.getppid() == given.parent:  # else it was gone before the kernel could be asked
            _serve(given.folder, given.address, given.port)
    finally:
        if os.getppid() != given.parent:
            shutil.rmtree(given.folder, ignore_errors=True)


def _serve(folder: Path, address: str, port: int) -> None:
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    try:
        serve(registry, address, port)
    except ClassyardError as error:
        sys.exit(f"classyard worker: {error}")


if __name__ == "__main__":
    main()
