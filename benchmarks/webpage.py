"""Leafing through a job of a million rows on the web page: seconds per page, wherever one looks."""

from __future__ import annotations

import http.client
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.lab import LOOK, lab, manifest
from benchmarks.measure import Figure, Samples, conclude, number, parser, say
from core.types import JobStatus
from producer.web.listening import web_service

#: Seconds: a page that takes longer is felt as slow.
TARGET = 0.2
TURNS = 11
START_SECONDS = 30


def main() -> None:
    """Run a job of stub images, one in a thousand of them broken, and leaf through it."""
    made = parser(__doc__)
    made.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = made.parse_args()
    count = 10_000 if options.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder, lab(options.database, engine="stub") as yard:
        uris = [
            f"https://pictures.example.org/{n:09d}.jpg" if n % 1000 else f"stub://fail/empty/{n}"
            for n in range(count)
        ]
        job = yard.submit(manifest(Path(folder), uris), chunk_size=4096)
        while not JobStatus(yard.status(job)).terminal:
            time.sleep(LOOK)
        service = web_service(yard.desk.settings)
        service.start()
        try:
            line = _line(int(service.environment["CLASSYARD_WEB_PORT"]))
            figure = _measure(line, job, count, options.database)
        finally:
            service.stop()
    conclude(options, [figure])


def _line(port: int) -> http.client.HTTPConnection:
    deadline = time.monotonic() + START_SECONDS
    while True:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            line.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return line


def _measure(line: http.client.HTTPConnection, job: int, count: int, database: str) -> Figure:
    middles = {name: _seconds(line, job, query) for name, query in _queries(count).items()}
    for name, samples in middles.items():
        say(f"{name}: {number(1000 * samples.middle)} ms ({samples.spread} s)")
    slowest = max(middles, key=lambda name: middles[name].middle)
    shown = ", ".join(f"{name} {number(1000 * s.middle)} ms" for name, s in middles.items())
    return Figure(
        f"slowest page of the web page on a job of {count:,}, {database}",
        middles[slowest].middle, "s", TARGET, more_is_better=False, spread=middles[slowest].spread,
        note=shown,
    )  # fmt: skip


def _queries(count: int) -> dict[str, dict[str, str]]:
    return {
        "first": {},
        "last": {"after": str(count - 40)},
        "lowest scores": {"order": "unsure"},
        "a label": {"order": "sure", "label": "7"},
        "scores in a range": {"order": "sure", "min": "10", "max": "90"},
        "failed": {"order": "failed"},
    }


def _seconds(line: http.client.HTTPConnection, job: int, query: dict[str, str]) -> Samples:
    taken = []
    for _ in range(TURNS):
        start = time.perf_counter()
        line.request("GET", f"/jobs/{job}?{urlencode(query)}")
        answer = line.getresponse()
        page = answer.read()
        taken.append(time.perf_counter() - start)
        if answer.status != http.HTTPStatus.OK or b'class="number"' not in page:
            raise RuntimeError(f"{query}: {answer.status}: {page[-500:]!r}")
    return Samples(tuple(taken))


if __name__ == "__main__":
    main()
