"""The worker's log: one line per chunk on standard error, and no secret in any of them."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from celery.worker.consumer import consumer

from core.redact import redact
from core.types import printable

if TYPE_CHECKING:
    from core.settings import LogFormat

_FORMAT: Final = "%(asctime)s %(levelname)-7s %(processName)s %(name)s: %(message)s"
#: Libraries that log every URL and header when asked for DEBUG.
_TALKATIVE: Final = ("urllib3", "requests", "PIL", "h5py")
#: Celery's, which logs the arguments of every task at DEBUG.
_POOLS: Final = ("celery.pool", "celery.concurrency", "kombu", "amqp")

#: Celery's, which say of every message that it came and went: our own line says more.
_PER_MESSAGE: Final = ("celery.worker.strategy", "celery.app.trace")

#: What Celery says of a message that it cannot use, followed by all that is in it.
_FULL_CONTENTS: Final = frozenset(
    {
        consumer.UNKNOWN_FORMAT,
        consumer.UNKNOWN_TASK_ERROR,
        consumer.INVALID_TASK_ERROR,
        consumer.MESSAGE_DECODE_ERROR,
    }
)


#: What every log record has; anything else on one of ours is a field of the event.
_USUAL: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class RedactingFormatter(logging.Formatter):
    """Takes the secrets out of URLs, in tracebacks, too: libraries put URLs into their messages."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole entry."""
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: what happened, when, where, and the fields of our own events."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole entry on one line."""
        told: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.processName,
            "message": redact(record.getMessage()),
        }
        if record.name.startswith("classyard"):
            # Others' fields are not ours to show: Celery's hold what a message said.
            ours = {name: value for name, value in vars(record).items() if name not in _USUAL}
            told |= {n: redact(v) if isinstance(v, str) else v for n, v in ours.items()}
        if record.exc_info:
            told["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(told, ensure_ascii=False, default=str)


def leave_out_contents(record: logging.LogRecord) -> bool:
    """Shorten Celery's report of a refused message to its reason (a logging filter)."""
    if record.msg in _FULL_CONTENTS:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        reason = f"{type(first).__name__}: {first}" if isinstance(first, Exception) else "no task"
        record.msg, record.args = "refused a message that is not ours: %s", (printable(reason),)
        record.exc_info = None
    return True


def set_up_logging(log_format: LogFormat, loglevel: int = logging.INFO, **_: object) -> None:
    """Log to standard error. Called by Celery, instead of its own logging."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = log_format == "json"
    handler.setFormatter(JsonFormatter() if as_json else RedactingFormatter(_FORMAT))
    if as_json:
        # What Celery says on standard output is for a person at a terminal, and no JSON.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.basicConfig(level=loglevel, handlers=[handler])
    consumer.logger.addFilter(leave_out_contents)
    for name in (*_TALKATIVE, *_POOLS, *_PER_MESSAGE):
        logging.getLogger(name).setLevel(max(loglevel, logging.WARNING))
