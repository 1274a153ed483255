"""`python -m worker.probe`: fetch and decode a few images as a worker would, and say how that went.

Reads JSON lines: first the model and the allowed roots, then one URI each. Writes one JSON line per
URI, in whatever order they are done. Predicts and records nothing.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError
from core.modelspec import read_model
from core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Images looked at at once.
THREADS: Final = 16
#: Exit status that means: the worker's parts are not installed here.
NOT_INSTALLED: Final = 4


def main() -> None:
    """Probe what standard input names."""
    lines = (json.loads(line) for line in sys.stdin)
    try:
        probe(next(lines), list(lines))
    except ImportError:
        sys.exit(NOT_INSTALLED)
    except ClassyardError as error:
        sys.exit(f"classyard probe: {error}")


def probe(wanted: dict[str, Any], uris: Iterable[str]) -> None:
    """Print a line for every URI.

    Raises:
        ClassyardError: if the settings or the model are unusable.
        ImportError: if the worker's parts are not installed.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed
    from pathlib import Path

    from core.sniff import format_name
    from core.types import Failure
    from worker.decode import decode, prepare
    from worker.fetch import Fetcher

    settings = read_settings()
    spec = read_model(wanted["model"], settings.models_path)
    limits = settings.image_limits
    prepare(limits)
    roots = [Path(root) for root in wanted["roots"]]
    fetcher = Fetcher(settings.fetch_limits)

    def look(uri: str) -> dict[str, Any]:
        content = fetcher.fetch(uri, roots)
        if isinstance(content, Failure):
            return {"reached": False, "code": content.code, "detail": content.detail}
        found: dict[str, Any] = {
            "reached": True, "bytes": len(content), "format": format_name(content), "code": None,
        }  # fmt: skip
        decoded = decode(content, spec.input, limits)
        if isinstance(decoded, Failure):
            found |= {"code": decoded.code, "detail": decoded.detail}
        return found

    with ThreadPoolExecutor(THREADS) as threads:
        for future in as_completed([threads.submit(look, uri) for uri in uris]):
            sys.stdout.write(json.dumps(future.result()) + "\n")
            sys.stdout.flush()
    fetcher.close()


if __name__ == "__main__":
    main()
