"""`python -m worker.thumbnails`: small pictures for people, fetched and decoded as a worker would.

A process of its own, so that the desk knows no pixels and a decoder that crashes takes nothing
along. Reads JSON lines `{id, uri, roots, side, content_hash}` until its standard input ends; writes
one line for each, in whatever order they are done: `{id, kind, content, width, height}` with the
file in Base64, or `{id, code, detail}`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError
from core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.settings import Settings

#: Pictures fetched at once, and decoded at once: a large one takes 600 MB or more.
THREADS: Final = 16
DECODERS: Final = 2
#: Exit status that means: the worker's parts are not installed here.
NOT_INSTALLED: Final = 4


def main() -> None:
    """Answer what standard input asks."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Lock

    lock = Lock()
    try:
        make = maker(read_settings())
    except ImportError:
        sys.exit(NOT_INSTALLED)
    except ClassyardError as error:
        sys.exit(f"classyard thumbnails: {error}")

    def answer(wanted: dict[str, Any]) -> None:
        said = json.dumps({"id": wanted.pop("id"), **make(**wanted)})
        with lock:
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()

    with ThreadPoolExecutor(THREADS) as threads:
        for line in sys.stdin:
            threads.submit(answer, json.loads(line))


def maker(settings: Settings) -> Callable[..., dict[str, Any]]:
    """Return what makes a thumbnail.

    Raises:
        SettingsError: if the settings are unusable.
        ImportError: if the worker's parts are not installed.
    """
    from base64 import b64encode
    from pathlib import Path
    from threading import Semaphore

    from core.errors import Code
    from core.types import Failure
    from worker.contenthash import is_hash_of
    from worker.decode import prepare
    from worker.decode.thumbnail import thumbnail
    from worker.fetch import Fetcher

    limits = settings.image_limits
    prepare(limits)
    fetcher = Fetcher(settings.fetch_limits)
    decoders = Semaphore(DECODERS)

    def make(uri: str, roots: list[str], side: int, content_hash: str | None) -> dict[str, Any]:
        content = fetcher.fetch(uri, [Path(root) for root in roots])
        if isinstance(content, Failure):
            return {"code": content.code, "detail": content.detail}
        if content_hash and not is_hash_of(content_hash, content):
            return {"code": "changed", "detail": "the image is another one than was classified"}
        try:
            with decoders:
                small = thumbnail(content, side, limits)
        except Exception as error:  # noqa: BLE001  said of this image; its neighbours go on
            small = Failure(Code.INTERNAL, f"{type(error).__name__}: {error}")
        if isinstance(small, Failure):
            return {"code": small.code, "detail": small.detail}
        return {
            "kind": small.kind,
            "content": b64encode(small.content).decode(),
            "width": small.width,
            "height": small.height,
        }

    return make


if __name__ == "__main__":
    main()
