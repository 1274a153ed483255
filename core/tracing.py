"""Traces by OpenTelemetry, if asked for: a submission and the chunks it leads to, on many machines.

Nothing of OpenTelemetry is imported unless `CLASSYARD_TRACES` says so; then it costs four spans per
chunk. Where spans go, and how many, is said by OpenTelemetry's own variables (`OTEL_...`).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from core.settings import Settings

#: Names of the W3C header that carries a trace from process to process.
TRACEPARENT = "traceparent"


class Span:
    """A span that is not recorded."""

    trace_id = ""
    traceparent = ""

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Keep what happened."""


_NO_SPAN = Span()


class Tracing:
    """Tracing that is off."""

    def span(self, name: str) -> AbstractContextManager[Span]:
        """Time a piece of work, inside the span that is open."""
        del name
        return nullcontext(_NO_SPAN)

    def consumer(
        self, name: str, traceparent: str | None, attributes: Mapping[str, Any]
    ) -> AbstractContextManager[Span]:
        """Time the work on a message, as part of the trace that the message belongs to."""
        del name, traceparent, attributes
        return nullcontext(_NO_SPAN)

    def close(self) -> None:
        """Send what was not sent yet."""


class _LiveSpan(Span):
    def __init__(self, span: Any) -> None:
        context = span.get_span_context()
        self._span = span
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = (
            f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )

    def describe(self, fields: Mapping[str, Any]) -> None:
        from opentelemetry.trace import StatusCode

        for name, value in fields.items():
            self._span.set_attribute(f"classyard.{name}", value)
        if error := fields.get("error"):
            self._span.set_status(StatusCode.ERROR, error)


class _LiveTracing(Tracing):
    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("classyard")

    @contextmanager
    def span(self, name: str) -> Iterator[Span]:
        # No exception is recorded: its text may name a signed URI.
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            yield _LiveSpan(span)

    @contextmanager
    def consumer(
        self, name: str, traceparent: str | None, attributes: Mapping[str, Any]
    ) -> Iterator[Span]:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # A header that is no trace's gives no parent: the message may be anybody's.
        carrier = {TRACEPARENT: traceparent} if isinstance(traceparent, str) else {}
        parent = TraceContextTextMapPropagator().extract(carrier)
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield _LiveSpan(span)

    def close(self) -> None:
        self._provider.shutdown()


def open_tracing(settings: Settings, service: str) -> Tracing:
    """Return what traces this process, as `CLASSYARD_TRACES` says. Call it after a fork.

    Raises:
        SettingsError: if OpenTelemetry is asked for and not installed.
    """
    if settings.traces == "off":
        return Tracing()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SimpleSpanProcessor,
        )
    except ImportError as error:
        raise SettingsError(
            "CLASSYARD_TRACES needs OpenTelemetry: pip install 'classyard[otel]'"
        ) from error
    import sys

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if settings.traces == "otlp":
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        one_line = ConsoleSpanExporter(
            out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n"
        )
        provider.add_span_processor(SimpleSpanProcessor(one_line))
    return _LiveTracing(provider)
