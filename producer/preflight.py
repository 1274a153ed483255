"""Pre-flight: what a submission would meet, from a sample of its images. Creates nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError
from db import queries, workers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.settings import Settings
    from db.jobs import JobRequest
    from db.session import Database
    from producer.sources import Block

#: Images looked at, and seconds that may take in all.
SAMPLE: Final = 100
PROBE_SECONDS: Final = 60.0
#: Exit status of the probe where the worker's parts are not installed (`worker.probe`).
NOT_INSTALLED: Final = 4


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the sample says. `answered` of the `sampled` images were looked at in time.

    `seconds` is the expected duration; None if no worker lives or none has served this model yet.
    """

    total: int
    sampled: int
    answered: int
    reached: int
    failures: dict[str, int]
    formats: dict[str, int]
    mean_bytes: float | None
    slots: int
    seconds: float | None

    @property
    def failure_rate(self) -> float:
        """Share of images that are expected to fail."""
        return sum(self.failures.values()) / self.answered if self.answered else 0.0


def preflight(
    database: Database, settings: Settings, request: JobRequest, blocks: Iterable[Block]
) -> Preflight:
    """Read all of `blocks`, look at a sample of up to 100 images, and say what to expect.

    Raises:
        ManifestError, UsageError: if a source cannot be read.
        ClassyardError: if the worker's parts, which look at the images, are not installed here.
    """
    total, sample = _sample(blocks)
    found = _probe(settings, request, sample)
    reached = [one for one in found if one["reached"]]
    slots = database.read(workers.live_slots, settings.dead_after, request.queue)
    per_image = database.read(queries.image_seconds, request.model, request.fingerprint)
    sizes = [one["bytes"] for one in reached]
    return Preflight(
        total=total,
        sampled=len(sample),
        answered=len(found),
        reached=len(reached),
        failures=dict(Counter(one["code"] for one in found if one["code"]).most_common()),
        formats=dict(Counter(one["format"] or "unknown" for one in reached).most_common()),
        mean_bytes=sum(sizes) / len(sizes) if sizes else None,
        slots=slots,
        seconds=total * per_image / slots if slots and per_image else None,
    )


def _sample(blocks: Iterable[Block]) -> tuple[int, list[str]]:
    """Return how many images there are and an even sample: each is as likely to be in it."""
    dice = random.Random(0)  # noqa: S311 - the same sources give the same sample
    total = 0
    sample: list[str] = []
    for block in blocks:
        for uri in block.uris:
            total += 1
            if len(sample) < SAMPLE:
                sample.append(uri)
            elif (place := int(dice.random() * total)) < SAMPLE:
                sample[place] = uri
    return total, sample


def _probe(settings: Settings, request: JobRequest, uris: list[str]) -> list[dict[str, Any]]:
    """Have the images looked at by the worker's own code, in another process."""
    wanted = {"model": request.model, "roots": request.options.get("roots", ())}
    told = "".join(json.dumps(line) + "\n" for line in (wanted, *uris))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "worker.probe"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=settings.as_environment(),
    ) as process:
        try:
            out, err = process.communicate(told.encode(), timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # what it has found by now is still an answer
            out, err = process.communicate()
    found = [
        json.loads(line) for line in out.decode().splitlines(keepends=True) if line[-1] == "\n"
    ]
    if not found and process.returncode == NOT_INSTALLED:
        raise ClassyardError(
            "--dry-run looks at images as a worker does, whose parts are not installed here: "
            "pip install 'classyard[worker]'"
        )
    if not found and process.returncode > 0:
        lines = err.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise ClassyardError(f"the images could not be looked at: {lines[-1]}")
    return found
