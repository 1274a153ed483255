"""kombu's Redis transport, made to survive junk, reconnects and a server that takes no writes.

Anybody who reaches Redis can push anything on the list. kombu takes its content on trust and an
entry that is no message ends the worker that popped it; here it is counted and forgotten.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from celery import signals
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import (
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger("classyard.broker")

#: Largest entry that is looked at: 10,000 URIs of ordinary length are far below, compressed.
MOST_CHARACTERS: Final = 32 * 2**20
#: Answers of a server that takes no writes; a full disk (MISCONF) has no class of its own.
REFUSALS: Final = (OutOfMemoryError, ReadOnlyError)


class Candid:
    """A connection's half that takes a refusal of all writes for what it is: an outage.

    A full disk, full memory and a replica answer with an error of their own. kombu takes it for a
    flaw of the command, which ends a worker; an outage it waits out.
    """

    transport: Transport

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connect."""
        self._require_hope()
        return super().connect(*args, **kwargs)  # type: ignore[misc]

    def send_packed_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send one command."""
        self._require_hope()
        return super().send_packed_command(*args, **kwargs)  # type: ignore[misc]

    def _require_hope(self) -> None:
        if self.transport.hung_up:
            raise ConnectionError("Redis did not answer")

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read one answer.

        Raises:
            ConnectionError: also if the server takes no writes at present.
        """
        self._require_hope()
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            if isinstance(error, REFUSALS) or str(error).startswith("MISCONF"):
                raise ConnectionError(f"Redis takes no writes: {error}") from error
            raise
        except TimeoutError:
            if self.transport.in_haste():
                self.transport.hang_up()
            raise


class Placeless:
    """What redis-py asks of every line that fails, though one to a unix socket has none."""

    host = ""
    port = 0


class QoS(redis.QoS):
    """Is done with a message even if Redis could not be told: it comes again, and its claim drops it.

    Else the worker would hold the message for ever; holding as many as it has slots it takes no more.
    """

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge."""
        with self._done_with(delivery_tag):
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject, or put back into the list."""
        with self._done_with(delivery_tag):
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back into its list.

        Without WATCH, unlike kombu: redis-py tries a watching transaction for as long as the server
        takes no writes. Should two restore one message, the second finds nothing to do.
        """
        with self.channel.conn_or_acquire(client) as chosen:
            kept = chosen.hget(self.unacked_key, tag)
            with chosen.pipeline() as pipe:
                self._remove_from_indices(tag, pipe)  # type: ignore[no-untyped-call]
                if kept:
                    message, exchange, routing_key = json.loads(kept)
                    self.channel._do_restore_message(message, exchange, routing_key, pipe, leftmost)
                pipe.execute()

    @contextmanager
    def _done_with(self, delivery_tag: str) -> Iterator[None]:
        try:
            yield
        except RedisError:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """Survives an entry that is not JSON, and an acknowledgement that comes too late."""

    QoS = QoS
    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return the client of the pool in force: to make one takes longer than a command."""
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        self._require_connection()
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        plain = params["connection_class"]
        # Last, so that a line that has a host keeps it.
        params["connection_class"] = type(
            plain.__name__, (Candid, plain, Placeless), {"transport": self.connection}
        )
        return params

    def _brpop_read(self, **options: Any) -> bool:
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested without end
            _drop(self.connection, type(error).__name__)
            return True

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        """Acknowledge, unless the line that brought the message is gone."""
        self._require_line()
        super().basic_ack(delivery_tag, multiple=multiple)  # type: ignore[no-untyped-call]

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject, unless the line that brought the message is gone."""
        self._require_line()
        super().basic_reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]

    def _require_line(self) -> None:
        # A chunk that ends just when Redis comes back answers on the old channel. kombu then fails
        # with an AttributeError, which ends the worker; this error Celery knows, and logs.
        if self.closed:
            raise ConnectionError("the message's channel is closed: its chunk is safe in SQL")
        self._require_connection()

    def _require_connection(self) -> None:
        # A channel that is closed after its connection still wants to put messages back.
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("the channel's connection is closed: its chunks are safe in SQL")


class Transport(redis.Transport):
    """Drops entries that kombu could not make a message of."""

    Channel = Channel
    hung_up = False
    #: Whether one time-out is enough to give up: a worker that stops has no time for ten.
    in_haste: Callable[[], bool] = staticmethod(lambda: False)

    def hang_up(self) -> None:
        """Let every command fail at once: each would wait for a server that does not answer."""
        self.hung_up = True

    def _deliver(self, message: Any, queue: str) -> None:
        if flaw := _flaw(message):
            _drop(self, flaw)
            return
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]


def install() -> None:
    """Make every Redis URL of this process use this transport."""
    name = f"{__name__}:{Transport.__name__}"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)


def _flaw(message: Any) -> str:
    """Return what makes an entry unusable, or nothing."""
    if not isinstance(message, dict):
        return "no object"
    properties = message.get("properties")
    if not isinstance(properties, dict) or not isinstance(message.get("headers"), dict):
        return "no properties or headers"
    address = properties.get("delivery_info")
    if not isinstance(properties.get("delivery_tag"), str) or not isinstance(address, dict):
        return "no delivery tag or address"
    if not all(isinstance(address.get(key), str) for key in ("exchange", "routing_key")):
        return "no address"
    return _body_flaw(message.get("body"), properties.get("body_encoding"))


def _body_flaw(body: Any, encoding: Any) -> str:
    if not isinstance(body, str) or len(body) > MOST_CHARACTERS or encoding != "base64":
        return "no body, or a strange one"
    try:
        base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return "the body is not base64"
    return ""


def _drop(transport: virtual.Transport, why: str) -> None:
    log.warning("dropped junk from the queue: %s", why, extra={"action": "junk_dropped"})
    signals.task_rejected.send(sender=transport, message=None, exc=None)
