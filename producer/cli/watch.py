"""`watch`: new files of a folder into the queue, as they arrive."""

from __future__ import annotations

import json
import signal
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy.exc import DBAPIError

from core.errors import ClassyardError
from core.settings import read_settings
from core.types import printable
from producer.arrivals import Arrivals, watched
from producer.cli.desk import choices
from producer.cli.options import (
    EmbeddingsOption,
    JsonOption,
    ModelOption,
    NameOption,
    ReuseOption,
    TopKOption,
    err,
)
from producer.request import job_request, priority_named
from producer.sources import Sources
from producer.yard import open_desk

if TYPE_CHECKING:
    from db.jobs import JobRequest
    from producer.arrivals import Look

#: Times the length of a look that is waited at least: a large folder costs a fifth of a core at most.
BREATH = 4
#: Seconds between tries while the database, Redis or the folder is away, at most.
LONGEST_WAIT = 30.0


def watch(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder or quoted glob.", show_default=False)
    ],
    model: ModelOption = "mobilenet_v2",
    settle: Annotated[
        float, typer.Option("--settle", help="Seconds that a file must stay as it is.", min=0)
    ] = 5.0,
    every: Annotated[
        float, typer.Option("--every", help="Seconds between two looks, at least.", min=0.1)
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="End when all that is there has been submitted.")
    ] = False,
    name: NameOption = None,
    top_k: TopKOption = 5,
    priority: Annotated[
        str, typer.Option("--priority", help="high, normal or low.", metavar="LEVEL")
    ] = "normal",
    reuse: ReuseOption = False,
    embeddings: EmbeddingsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit the images of a folder as they arrive: each once, when it is whole, until Ctrl-C.

    What was submitted is kept in the database: start it again at any time, on any machine. Needs a
    running yard, as 'submit' does.

    Examples:
      classyard watch /scans/incoming --model digits

      classyard watch '/cameras/*/2024-*/**/*.jpg' --settle 30
    """
    settings = read_settings()
    pattern = watched(folder)
    title, level = name or f"watch {printable(pattern.folder, 70)}", priority_named(priority)
    chosen = choices(reuse=reuse, max_errors=None, embeddings=embeddings)

    def ask() -> JobRequest:
        asked = job_request(settings, Sources(()), model, top_k, [Path(pattern.folder)], chosen)
        return asked.named(title, key=None, priority=level)

    served = ask().model
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open_desk(settings, own_redis=False) as desk:
        watching = _Watching(Arrivals(desk, pattern, ask, settle, time.monotonic), as_json)
        watching.say(f"watching {printable(pattern.folder)} for {served}; Ctrl-C stops")
        try:
            watching.run(every, once=once)
        except KeyboardInterrupt:
            watching.say("stopped")
        watching.say(f"{watching.images:,} images in {watching.jobs:,} jobs")


class _Watching:
    """The loop, and what a person or a program is told of it."""

    def __init__(self, arrivals: Arrivals, as_json: bool) -> None:
        self._arrivals = arrivals
        self._as_json = as_json
        self.jobs = self.images = 0
        self._waiting = 0

    def run(self, every: float, *, once: bool) -> None:
        """Look again and again; with `once`, until nothing is left to wait for."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                look = self._arrivals.look()
            except (ClassyardError, DBAPIError) as error:
                failures += 1
                text = str(getattr(error, "orig", error)).partition("\n")[0]
                self.say(f"waiting: {printable(text)}")
                time.sleep(min(LONGEST_WAIT, 2.0 ** min(failures, 5)))
                continue
            failures = 0
            self._tell(look)
            if once and not look.waiting:
                return
            time.sleep(max(every, BREATH * (time.monotonic() - began)))

    def say(self, text: str) -> None:
        """Tell a person."""
        err().print(f"{datetime.now():%H:%M:%S}  {text}", soft_wrap=True)  # noqa: DTZ005 - theirs

    def _tell(self, look: Look) -> None:
        for done in look.submissions:
            self.jobs += 1
            self.images += done.total
            if self._as_json:
                record = {"job_id": done.job_id, "total": done.total, "waiting": look.waiting}
                sys.stdout.write(json.dumps(record) + "\n")
                sys.stdout.flush()
            else:
                rest = f"; {look.waiting:,} files still change" if look.waiting else ""
                self.say(f"job {done.job_id}: {done.total:,} images{rest}")
        if look.waiting and not look.submissions and not self._waiting:
            self.say(f"{look.waiting:,} new files; waiting until they are whole")
        self._waiting = look.waiting
