"""`python -m worker.notify`: deliver the completion notices that are due, then end.

A process of its own and short-lived: a receiver that is slow or hostile never keeps a worker busy.
At least once: a receiver may see the same delivery id twice, never a forged signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from core.errors import ClassyardError, NoSuchJobError
from core.settings import read_settings
from core.types import printable
from db import notices, queries
from db.session import open_database
from worker.fetch.connection import dial, fields_of, request_to
from worker.fetch.dns import Resolver
from worker.fetch.network import CheckedNetwork, default_tls
from worker.fetch.refusal import Refused
from worker.fetch.timer import Timer
from worker.fetch.uri import HttpUrl, parse

if TYPE_CHECKING:
    from core.limits import FetchLimits
    from core.settings import Settings
    from db.notices import DueNotice
    from db.queries import Progress
    from db.session import Database

#: Seconds that one delivery, and that this process, may take.
DELIVERY_SECONDS: Final = 15.0
RUN_SECONDS: Final = 60.0


def main() -> None:
    """Deliver what is due; exit code 1 if settings or database are unusable."""
    try:
        settings = read_settings()
        database = open_database(settings.database)
    except ClassyardError as error:
        sys.exit(f"classyard notify: {error}")
    try:
        deliver_all(database, settings)
    finally:
        database.close()


def deliver_all(database: Database, settings: Settings) -> None:
    """Try every notice that is due, once."""
    limits = replace(
        settings.fetch_limits,
        schemes=frozenset({"http", "https"}),
        total_timeout=DELIVERY_SECONDS,
    )
    until = time.monotonic() + RUN_SECONDS
    for notice_id in database.read(notices.due):
        if time.monotonic() > until:
            return
        notice = database.write(notices.take, notice_id)
        if notice is None:
            continue
        failure = _deliver(database, notice, limits, settings.webhook_secret)
        if failure:
            database.write(notices.failed, notice, failure)
        else:
            database.write(notices.delivered, notice.id)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature over the timestamp, a dot, and the body."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _deliver(database: Database, notice: DueNotice, limits: FetchLimits, secret: str) -> str:
    """Try to deliver a notice; return why it failed, or nothing."""
    if not secret:
        return "CLASSYARD_WEBHOOK_SECRET is not set where workers run"
    try:
        progress = database.read(queries.progress, notice.job_id)
    except NoSuchJobError as error:
        return str(error)
    body = json.dumps(_told(notice, progress)).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": limits.user_agent,
        "Classyard-Delivery": notice.id,
        "Classyard-Timestamp": timestamp,
        "Classyard-Signature": signature(secret, timestamp, body),
    }
    try:
        status = _post(notice.url, headers, body, limits)
    except Refused as refused:
        return printable(refused.detail)
    return "" if 200 <= status < 300 else f"HTTP {status}"


def _told(notice: DueNotice, progress: Progress) -> dict[str, Any]:
    return {
        "delivery": notice.id,
        "job_id": progress.job_id,
        "name": progress.name,
        "status": notice.status,
        "error": progress.error,
        "model": progress.model,
        "model_fingerprint": progress.fingerprint,
        "submitted": progress.total,
        "ok": progress.ok,
        "failed": progress.failed,
        "cancelled": progress.cancelled,
        "pending": progress.pending,
    }


def _post(url: str, headers: dict[str, str], body: bytes, limits: FetchLimits) -> int:
    """Return the status of the answer; its body is not read, redirects are not followed.

    Raises:
        Refused: if the address policy forbids it, or there is no connection in time.
    """
    place = parse(url, limits)
    assert isinstance(place, HttpUrl)  # not one of the schemes
    timer = Timer(limits, time.monotonic)
    deadline = timer.deadline()
    network = CheckedNetwork(Resolver(socket.getaddrinfo, time.monotonic), timer)
    origin = (place.scheme, place.host, place.port)
    with closing(dial(network, default_tls(), origin, deadline)) as connection:
        return connection.ask(request_to(place, fields_of(headers), b"POST", body), deadline).status


if __name__ == "__main__":
    main()
