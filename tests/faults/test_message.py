"""The message: junk, forged, foreign, stale, or delivered several times."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from broker.app import KEY_PREFIX, list_key
from core.types import digest, encode_uris
from tests.faults.rows import first_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.lab import Lab


def envelope(kwargs: Any, *, task: str = "classyard.classify", **changes: Any) -> dict[str, Any]:
    """What a producer would have pushed, with a body and changes of an attacker's choice."""
    body = json.dumps([[], kwargs, {}]).encode()
    made = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": task, "id": "forged", "argsrepr": "", "kwargsrepr": ""},
        "properties": {
            "correlation_id": "forged", "delivery_mode": 2, "priority": 5,
            "delivery_info": {"exchange": "", "routing_key": "classyard"},
            "body_encoding": "base64", "delivery_tag": "forged",
        },
    }  # fmt: skip
    return {**made, **changes}


#: The nine kinds of junk that kill or mislead a plain worker.
JUNK: list[bytes] = [
    b"not json",
    b"[1, 2]",
    b"{}",
    b"\xff\xfe\x00",
    json.dumps(envelope({}, body="%%% no base64 %%%")).encode(),
    json.dumps(envelope({}, body=base64.b64encode(b"{no json").decode())).encode(),
    json.dumps(envelope({}, task="some.other.task")).encode(),
    json.dumps(envelope({}, **{"content-type": "application/x-python-serialize"})).encode(),
    json.dumps(envelope({"surprise": 1})).encode(),
]


RUNNING = "SELECT count(*) FROM chunks WHERE status = 'running'"


def push(lab: Lab, *entries: bytes) -> None:
    with lab.redis.client() as client:
        for entry in entries:
            client.lpush(KEY_PREFIX + list_key(lab.settings.queue, 5), entry)


@first_sqlite
def test_f23_junk_is_counted_and_kills_nobody(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    n = rounds(1, 20)
    [worker] = lab.workers(1)
    lab.put(lab.naps(40, 0.001))
    for _ in range(n):
        push(lab, *JUNK)
    push(lab, b"[" * 50_000)
    lab.put(lab.naps(40, 0.001))
    lab.quiet()
    expected = n * len(JUNK) + 1
    lab.until(lambda: lab.counter("messages_refused") >= expected, 20, "refusals")
    assert worker.process.poll() is None
    assert lab.counter("messages_refused") == expected
    lab.verdict("F23", n, f"{expected} junk entries refused and counted, no worker ended")


@first_sqlite
def test_f24_forged_messages_do_nothing(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    job = lab.put(lab.naps(8, 0.001))
    [(chunk, truth)] = lab.sql("SELECT id, digest FROM chunks WHERE job_id = :job", job=job)
    bad = ["http://127.0.0.1:1/secret"]
    base = {"v": 1, "job_id": job, "chunk_id": chunk}
    forged = [
        {**base, "digest": digest(encode_uris(bad)), "uris": bad},  # consistent, but not the row's
        {**base, "digest": truth, "uris": bad},
        {**base, "v": 2, "digest": truth, "uris": bad},
        {**base, "chunk_id": chunk + 999, "digest": digest(encode_uris(bad)), "uris": bad},
        {**base, "job_id": "1 OR 1=1", "digest": truth, "uris": bad},
    ]
    forged *= rounds(1, 20)
    with lab.redis.client() as client:  # before the true message, so that they are served first
        for kwargs in forged:
            entry = json.dumps(envelope(kwargs))
            client.rpush(KEY_PREFIX + list_key(lab.settings.queue, 5), entry)
    lab.workers(1)
    lab.quiet()
    lab.until(lambda: lab.counter("messages_refused") == len(forged), 15, "messages_refused")
    assert not lab.sql("SELECT 1 FROM results WHERE uri LIKE 'http%'")
    found = lab.verdict("F24", len(forged), "forged digest, version, ids: refused and counted")
    assert found.extra == 0


@pytest.mark.faults_full
def test_f13_every_message_delivered_three_times(
    lab: Lab, rounds: Callable[[int, int], int]
) -> None:
    n = rounds(20, 300)
    lab.settings = lab.settings.model_copy(update={"window": n})
    lab.desk = type(lab.desk)(lab.desk.app, lab.desk.database, lab.settings)
    lab.put(lab.naps(n * 4, 0.01), chunk_size=4)
    key = KEY_PREFIX + list_key(lab.settings.queue, 5)
    with lab.redis.client() as client:
        entries = client.lrange(key, 0, -1)
        for entry in entries:
            for copy in range(2):
                message = json.loads(entry)
                message["properties"]["delivery_tag"] += f"-{copy}"
                client.lpush(key, json.dumps(message))
    lab.workers(2)
    lab.quiet()
    lab.until(lambda: lab.counter("duplicates_dropped") >= 2 * n, 30, "duplicates_dropped")
    found = lab.verdict("F13", n, f"{2 * n} copies: {lab.counter('duplicates_dropped')} dropped")
    assert found.extra == 0


@pytest.mark.faults_full
def test_f13_redelivery_of_a_chunk_in_work(lab: Lab, rounds: Callable[[int, int], int]) -> None:
    lab.workers(2)
    again = 0
    for _ in range(rounds(1, 5)):
        lab.put(lab.naps(16, 0.5), chunk_size=4)
        lab.until(lambda: lab.sql(RUNNING)[0][0] == 4, what="work")
        with lab.redis.client() as client:  # as the visibility time-out would: what is held, again
            for entry in client.hvals(KEY_PREFIX + "unacked"):
                message = json.loads(entry)[0]
                message["properties"]["delivery_tag"] += "-again"
                client.lpush(KEY_PREFIX + list_key(lab.settings.queue, 5), json.dumps(message))
                again += 1
        lab.quiet()
    lab.until(lambda: lab.counter("duplicates_dropped") >= again, 20, "duplicates_dropped")
    found = lab.verdict("F13r", again, "chunks in work redelivered")
    assert found.extra == 0
