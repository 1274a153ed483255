"""Webhook: where a job's end is told, checked at submission; delivered by `python -m worker.notify`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.errors import SettingsError, UsageError
from db import notices

if TYPE_CHECKING:
    from core.settings import Settings
    from db.session import Database

#: Longest URL, and seconds that a command waits for deliveries; workers go on with the rest.
LONGEST_URL: Final = 2000
DELIVERY_SECONDS: Final = 30


def check_webhook(url: str, settings: Settings) -> str:
    """Return the URL if a notice can be sent there in principle.

    Raises:
        UsageError, SettingsError: if not.
    """
    try:
        parts = urlsplit(url)
        fit = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable()
    except ValueError:
        fit = False
    if not fit or len(url) > LONGEST_URL or " " in url:
        raise UsageError("--webhook needs an http or https URL")
    if not settings.webhook_secret:
        raise SettingsError(
            "CLASSYARD_WEBHOOK_SECRET is not set: notices are signed with it, so that their "
            "receiver can tell them from forged ones; workers need the same"
        )
    return url


def deliver_due(database: Database, settings: Settings) -> None:
    """Deliver the notices that are due, in another process, and wait a while for it.

    Does nothing where the worker's parts are not installed: a worker's sweep delivers them then.
    """
    if not database.read(notices.any_due):
        return
    try:
        subprocess.run(
            [sys.executable, "-P", "-m", "worker.notify"],
            env=settings.as_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DELIVERY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return  # what it had taken comes due again
