"""Celery's consumer, made to live through outages and to count what it cannot read."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from celery.events.dispatcher import EventDispatcher
from celery.worker import state
from celery.worker.consumer import Consumer

from core.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.keeper import Keeper

log = logging.getLogger("classyard.worker")

#: Most seconds between two tries to reach Redis again.
LONGEST_WAIT: Final = 5
#: Seconds that an event waits for others: told one by one, Flower costs as much as the messages, and a
#: child waits for its next chunk meanwhile.
TELL_AFTER: Final = 0.1


class ImpatientDispatcher(EventDispatcher):  # type: ignore[misc]
    """Tells Flower once, and what it could not tell when Redis is back.

    Celery repeats a heartbeat until Redis has it: while Redis hangs the parent's loop stands still,
    gives no sign of life and hears of no signal.
    """

    def _publish(
        self, event: Any, producer: Any, routing_key: str, retry: bool = False, **further: Any
    ) -> None:
        super()._publish(event, producer, routing_key, **further)


def make_consumer(keeper: Keeper) -> type[Consumer]:
    """Return the consumer class of a worker with this keeper."""

    class KeptConsumer(Consumer):  # type: ignore[misc]
        """Goes on giving signs of life while it waits for Redis."""

        # At -1 Celery would end a worker with a child that died before the first connection, which
        # Redis may delay for hours. The pool replaces such a child like any other.
        restart_count = 0
        told_at = 0.0

        def on_send_event_buffered(self) -> None:
            """Tell Flower soon, of several things at once."""
            moment = time.monotonic()
            if self.hub and moment >= self.told_at:
                self.told_at = moment + TELL_AFTER
                self.hub.call_later(TELL_AFTER, self._flush_events)

        def ensure_connected(self, conn: Any) -> Any:
            """Connect, however long it takes."""
            # Waiting blocks Celery's loop and with it the timers: without these signs of life an
            # outage of Redis would make every worker look dead, and running chunks be run twice.
            connected = conn.ensure_connection(
                _say_why,
                None,
                interval_start=1,
                interval_step=1,
                interval_max=LONGEST_WAIT,
                callback=_each(state.maybe_shutdown, keeper.beat_if_due),
            )
            self.first_connection_attempt = False
            connected.transport.in_haste = lambda: state.should_stop is not None
            return connected

        def on_connection_error_after_connected(self, exc: Exception) -> None:
            """Put back what can be, and let nobody wait for the lost line any more."""
            transport = self.connection.transport
            super().on_connection_error_after_connected(exc)
            transport.hang_up()

        def stop(self) -> None:
            """Stop consuming, without a word to a Redis that does not answer: it may be hung."""
            teller = self.event_dispatcher
            lines = [self.connection, teller.connection if teller else None]
            try:
                keeper.ping_broker()
            except BrokerError as error:
                log.warning("leaving without Redis: %s", error)
                for line in lines:
                    if line is not None:
                        line.transport.hang_up()
            super().stop()

        def on_decode_error(self, message: Any, exc: Exception) -> None:
            """Count a message whose body cannot be read."""
            super().on_decode_error(message, exc)
            keeper.count("messages_refused")

    return KeptConsumer


def _say_why(error: Exception, wait: float) -> None:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    log.warning("Redis is away (%s): trying again in %.0f s", reason, wait)


def _each(*calls: Callable[[], object]) -> Callable[[], None]:
    def call() -> None:
        for one in calls:
            one()

    return call
