"""The worker's log: one line per chunk on standard error, and no secret in any of them."""

from __future__ import annotations

import logging
import sys
from typing import Final

from celery.worker.consumer import consumer

from core.redact import redact
from core.types import printable

_FORMAT: Final = "%(asctime)s %(levelname)-7s %(processName)s %(name)s: %(message)s"
#: Libraries that log every URL and header when asked for DEBUG.
_TALKATIVE: Final = ("httpcore", "urllib3", "requests", "PIL", "h5py")
#: Celery's, which logs the arguments of every task at DEBUG.
_POOLS: Final = ("celery.pool", "celery.concurrency", "kombu", "amqp")

#: What Celery says of a message that it cannot use, followed by all that is in it.
_FULL_CONTENTS: Final = frozenset(
    {
        consumer.UNKNOWN_FORMAT,
        consumer.UNKNOWN_TASK_ERROR,
        consumer.INVALID_TASK_ERROR,
        consumer.MESSAGE_DECODE_ERROR,
    }
)


class RedactingFormatter(logging.Formatter):
    """Takes the secrets out of URLs, in tracebacks, too: libraries put URLs into their messages."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole entry."""
        return redact(super().format(record))


def leave_out_contents(record: logging.LogRecord) -> bool:
    """Shorten Celery's report of a refused message to its reason (a logging filter)."""
    if record.msg in _FULL_CONTENTS:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        reason = f"{type(first).__name__}: {first}" if isinstance(first, Exception) else "no task"
        record.msg, record.args = "refused a message that is not ours: %s", (printable(reason),)
        record.exc_info = None
    return True


def set_up_logging(loglevel: int = logging.INFO, **_: object) -> None:
    """Log to standard error. Called by Celery, instead of its own logging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(_FORMAT))
    logging.basicConfig(level=loglevel, handlers=[handler])
    consumer.logger.addFilter(leave_out_contents)
    for name in (*_TALKATIVE, *_POOLS):
        logging.getLogger(name).setLevel(max(loglevel, logging.WARNING))
