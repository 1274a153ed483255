"""What a worker tells of its work: JSON lines and traces, from real commands; nothing if not asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from core.settings import read_settings
from tests.support.yard import ROOT, Yard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = [f"https://pictures.example.org/{n}.jpg?signature=SECRET" for n in range(20)]


@pytest.fixture
def quiet(home: Path, broker_url: str) -> Iterator[Yard]:
    with Yard(
        read_settings(home=home, broker_url=broker_url, engine="stub", concurrency=1)
    ) as yard:
        yield yard


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP receiver on loopback: its URL, and the spans it was sent."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_one_json_line_per_chunk_with_ids_and_stage_times(quiet: Yard) -> None:
    worker = quiet.worker(CLASSYARD_LOG_FORMAT="json")
    job = quiet.submit([*SECRET, "stub://fail/empty/1"], "--chunk-size", "7")
    broken = quiet.submit(["stub://raise/1"])
    quiet.finish(job)
    quiet.until(lambda: "RuntimeError" in worker.log.read_text(), what="the chunk that fails")
    assert worker.stop() == 0
    # Celery warns who is root before there is a log.
    printed = worker.log.read_text()
    told = [json.loads(line) for line in printed[printed.index("{") :].splitlines()]
    lines = [line for line in told if line.get("action") == "chunk"]
    done = [line for line in lines if line["ending"] == "done"]
    chunks = quiet.sql("SELECT id FROM chunks WHERE job_id = :job", job=job)
    assert [line["chunk_id"] for line in done] == [chunk.id for chunk in chunks]
    assert {(line["job_id"], line["model"], line["attempts"], line["images"]) for line in done} == {
        (job, "digits", 1, 7)
    }
    assert [line["failed"] for line in done] == [0, 0, 1]
    for line in done:
        stages = [line[f"{name}_seconds"] for name in ("claim", "fetch", "decode", "predict")]
        assert 0 < sum(stages) + line["record_seconds"] <= line["seconds"]
    (back, *_) = [line for line in lines if line["ending"] == "handed_back"]
    assert (back["job_id"], back["level"]) == (broken, "warning")
    assert "RuntimeError" in back["traceback"]
    assert "SECRET" not in worker.log.read_text()


def test_a_submission_and_its_chunks_are_one_trace(quiet: Yard) -> None:
    with collector() as (url, spans):
        traced = {"CLASSYARD_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        worker = quiet.worker(**traced, OTEL_BSP_SCHEDULE_DELAY="100")
        uris = "\n".join(SECRET)
        sent = quiet.command(
            *("submit", "-", "-m", "digits", "--chunk-size", "2"), stdin=uris, **traced
        )
        assert sent.code == 0, sent.err
        quiet.finish(int(sent.out))
        assert worker.stop() == 0
        by_name = defaultdict(list)
        for span in spans:
            by_name[span.name].append(span)
    (root,) = by_name["submit"]
    assert not root.parent_span_id
    assert {span.trace_id for span in spans} == {root.trace_id}
    # Ten chunks, more than the window: those that the worker dispatched belong to the trace, too.
    assert len(by_name["chunk"]) == 10
    assert {chunk.parent_span_id for chunk in by_name["chunk"]} == {root.span_id}
    ids = {chunk.span_id for chunk in by_name["chunk"]}
    for name in ("claim", "classify", "record", "dispatch"):
        assert {span.parent_span_id for span in by_name[name]} == ids
    assert "SECRET" not in str(spans)


def test_nothing_is_imported_that_was_not_asked_for() -> None:
    program = (
        "import sys, core.tracing, worker.telemetry, worker.keeper, producer.cli.commands;"
        "sys.exit(' '.join(m for m in sys.modules if m in ('opentelemetry.sdk', 'prometheus_client')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
