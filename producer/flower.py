"""Flower: the window on workers and tasks, on loopback and behind a password."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

from broker.app import make_app
from core.errors import ClassyardError
from producer.services import STOP_EXTRA, Service, from_here

if TYPE_CHECKING:
    from core.settings import Settings

USER = "classyard"


def flower_service(settings: Settings) -> Service:
    """Return Flower as a service, with a password made up if none is set."""
    environment = settings.as_environment()
    environment["CLASSYARD_FLOWER_PASSWORD"] = settings.flower_password or new_password()
    return Service(
        name="flower",
        command=[sys.executable, "-P", "-m", "producer", "flower"],
        log=settings.home / "logs" / "flower.log",
        environment=environment,
        stop_seconds=STOP_EXTRA,
        door=(from_here(settings.flower_address), settings.flower_port),
    )


def new_password() -> str:
    """Return a password that nobody guesses."""
    return secrets.token_urlsafe(16)


def run_flower(settings: Settings, password: str, *, read_only: bool) -> None:
    """Run Flower in this process until it is stopped.

    Raises:
        ClassyardError: if Flower is not installed.
    """
    try:
        import flower  # noqa: F401
    except ImportError as error:
        raise ClassyardError("Flower is not installed: pip install 'classyard[flower]'") from error
    if not password:
        raise ClassyardError("Flower needs a password: set CLASSYARD_FLOWER_PASSWORD")
    # In the environment, not on the command line, which every user of the machine can read.
    os.environ["FLOWER_BASIC_AUTH"] = f"{USER}:{password}"  # noqa: TID251 - Flower's own variable
    make_app(settings).start(
        [
            "flower",
            f"--address={settings.flower_address}",
            f"--port={settings.flower_port}",
            "--max-tasks=20000",  # a window, not a record: the record is SQL
            "--persistent=False",
            # A row is a chunk: which, of how many, how many images, which model; the id opens its page.
            "--tasks-columns=args,state,exception,runtime,worker,received,name,uuid",
            # It warns of every worker that is not up yet, and lists Celery's own tasks.
            "--logging=error",
            "--purge-offline-workers=300",
            *(["--read-only"] if read_only else []),
        ]
    )
