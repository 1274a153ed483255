"""What one image takes in SQL, and one message in Redis: the figures behind docs/operations.md."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy import text

from benchmarks.lab import Lab, desk_only, lab, manifest
from benchmarks.measure import Figure, conclude, parser

#: Images in a message: a second of a fast network.
CHUNK = 256
WINDOW = 400


def main() -> None:
    """Measure both databases and Redis."""
    options = parser(__doc__).parse_args()
    count = 5_000 if options.quick else 200_000
    uris = [f"https://pictures.example.org/set/{n:015d}.jpg" for n in range(count)]
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        listed = manifest(Path(folder), uris)
        for database in ("sqlite", "postgresql"):
            with lab(database, engine="stub") as yard:
                yard.finish(yard.submit(listed))
                taken = _bytes(yard, database) / count
            figures.append(
                Figure(f"bytes in SQL per image, {database}", taken, "bytes", 1000,
                       more_is_better=False, spread="n=1",
                       note=f"five labels of a digit, a URI of {len(uris[0])} characters, indexes")
            )  # fmt: skip
        with desk_only(engine="stub", window=WINDOW) as desk:
            client = desk.app.connection_for_write().default_channel.client
            before = int(client.info("memory")["used_memory"])
            Lab(desk, None).submit(manifest(Path(folder), uris[: CHUNK * WINDOW]), chunk_size=CHUNK)
            after = int(client.info("memory")["used_memory"])
        messages = min(WINDOW, -(-count // CHUNK))
        figures.append(
            Figure(f"Redis memory per message of {CHUNK} URIs", (after - before) / messages / 1024,
                   "KiB", 20, more_is_better=False, spread=f"n={messages}")
        )  # fmt: skip
    conclude(options, figures)


def _bytes(yard: Lab, database: str) -> int:
    if database == "postgresql":
        return int(yard.rows(text("SELECT pg_total_relation_size('results')"))[0][0])
    pages, size = (yard.rows(text(f"PRAGMA {name}"))[0][0] for name in ("page_count", "page_size"))
    return int(pages * size)


if __name__ == "__main__":
    main()
