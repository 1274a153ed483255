"""The messages: the Celery app, the dispatch window, the sweep, the embedded Redis."""

from __future__ import annotations

import sys

# redis-py imports OpenTelemetry's SDK where that is installed, for metrics that nobody asked it for:
# 60 ms of every command. A module that is None cannot be imported; ours imports it when it is wanted.
_UNWANTED = "opentelemetry.sdk.metrics"
if _UNWANTED not in sys.modules:
    sys.modules[_UNWANTED] = None  # type: ignore[assignment]
    try:
        import redis  # noqa: F401
    finally:
        del sys.modules[_UNWANTED]
