"""A job's end is told to its webhook: signed, again until it is taken, and only where allowed."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import read_settings
from producer.webhook import deliver_due
from tests.support.yard import Yard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.settings import Settings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SECRET = "a secret of this test"


class Receiver:
    """A server on loopback that answers with `answers`, one after the other, then with 204."""

    def __init__(self, answers: list[int]) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers), body))
                self.send_response(answers.pop(0) if answers else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


def opened(settings: Settings, port: int) -> Settings:
    """The same settings with loopback allowed."""
    further = {"webhook_secret": SECRET, "allow_nets": ("127.0.0.0/8",), "ports": (str(port),)}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return read_settings(**{**given, **further, "sweep_interval": 1})


def notice(yard: Yard, job: int) -> Any:
    rows = yard.sql("SELECT * FROM notices WHERE job_id = :id", id=job)
    assert len(rows) == 1
    return rows[0]


def test_a_notice_is_signed_and_delivered_again_until_it_is_taken(settings: Settings) -> None:
    with (
        Receiver([500, 302]).listening() as receiver,
        Yard(opened(settings, receiver.port)) as yard,
    ):
        url = f"http://127.0.0.1:{receiver.port}/ended?job=1"
        job = yard.submit(["stub://a", "stub://b"], "--webhook", url)
        assert yard.command("cancel", str(job)).code == 0
        for tries, error in ((1, "HTTP 500"), (2, "HTTP 302"), (3, None)):
            deliver_due(yard.desk.database, yard.settings)
            assert len(receiver.received) == tries
            found = notice(yard, job)
            assert (found.attempts, found.error) == (tries, error)
            deliver_due(yard.desk.database, yard.settings)  # it is not due again yet
            assert len(receiver.received) == tries
            yard.desk.database.write(
                lambda c: c.exec_driver_sql(
                    "UPDATE notices SET due_at = created_at WHERE due_at IS NOT NULL"
                )
            )
        assert notice(yard, job).delivered_at is not None

        for headers, body in receiver.received:
            signed = headers["Classyard-Timestamp"].encode() + b"." + body
            expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            assert headers["Classyard-Signature"] == f"sha256={expected}"
            assert headers["Classyard-Delivery"] == notice(yard, job).id
            told = json.loads(body)
            assert (told["job_id"], told["status"]) == (job, "cancelled")
            assert (told["submitted"], told["cancelled"]) == (2, 2)

        # A worker tells of the jobs that it ends.
        yard.worker()
        second = yard.submit(["stub://c"], "--webhook", url)
        yard.until(lambda: len(receiver.received) == 4, what="the worker's notice")
        told = json.loads(receiver.received[3][1])
        assert (told["job_id"], told["status"], told["ok"]) == (second, "completed", 1)


def test_a_notice_goes_nowhere_else(settings: Settings) -> None:
    with Receiver([]).listening() as receiver:
        allowed = opened(settings, receiver.port)
        given = {name: getattr(allowed, name) for name in allowed.model_fields_set}
        closed = read_settings(**{**given, "allow_nets": ()})
        with Yard(closed) as yard:
            url = f"http://localhost:{receiver.port}/"
            job = yard.submit(["stub://a"], "--webhook", url)
            yard.command("cancel", str(job))
            yard.command("sweep")
            found = notice(yard, job)
            assert (found.attempts, found.delivered_at) == (1, None)
            assert found.error == "the host resolves to a non-public address"
            assert not receiver.received
            refused = yard.command(
                "submit", "-", "-m", "digits", "--webhook", "file:///etc/x", stdin="stub://a\n"
            )
            assert (refused.code, refused.err.count("\n")) == (2, 1)
            unsigned = yard.command(
                "submit", "-", "-m", "digits", "--webhook", url, stdin="stub://a\n",
                CLASSYARD_WEBHOOK_SECRET="",
            )  # fmt: skip
            assert unsigned.code == 1
            assert "CLASSYARD_WEBHOOK_SECRET is not set" in unsigned.err
