"""The Celery app: every setting of the messaging in one place, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from kombu.entity import Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from broker.embedded import embedded_url
from broker.transport import install
from core.errors import BrokerError
from core.settings import read_settings
from core.types import Priority

if TYPE_CHECKING:
    from core.settings import Settings

#: The only task there is.
CLASSIFY: Final = "classyard.classify"
#: Version of the message; a worker refuses any other.
VERSION: Final = 1
#: Whatever kombu and redis-py raise when Redis is away, full or refuses us.
BROKER_ERRORS: Final = (KombuError, RedisError, OSError)
#: How who is impatient connects: kombu waits 2 and 4 s between three tries if it is not told.
QUICK_TRIES: Final = {
    "max_retries": 1,
    "interval_start": 0.2,
    "interval_step": 0.2,
    "interval_max": 0.5,
}
#: Prefix of every key in Redis, so that an ACL can be narrow and a server be shared.
KEY_PREFIX: Final = "classyard:"
SEPARATOR: Final = ":"


def make_app(settings: Settings, *, patient: bool = True) -> Celery:
    """Return the Celery app that producers, workers and Flower share (nothing is sent yet).

    Workers are patient with a Redis that is slow or away; a person at a prompt is not.
    """
    install()
    app = Celery("classyard", broker=broker_url(settings), set_as_current=False)
    app.conf.update(
        # What travels. JSON only: a pickle would run code. Compressed: URIs repeat themselves.
        task_serializer="json",
        accept_content=["json"],
        event_serializer="json",
        task_protocol=2,
        task_compression="zstd",
        # Results live in SQL: nothing grows in Redis.
        task_ignore_result=True,
        result_backend=None,
        # Acknowledge after COMMIT; a chunk whose child died goes back (the attempts cap is in SQL).
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # Redis's redelivery clock starts at prefetch: hold no more than is being worked on.
        worker_prefetch_multiplier=1,
        # A dropped connection must not kill chunks whose completion is guarded in SQL anyway.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # One named queue per kind of worker; a typo must not become a silent queue.
        task_default_queue=settings.queue,
        task_queues=[Queue(settings.queue)],
        task_create_missing_queues=False,
        task_default_priority=int(Priority.NORMAL),
        # One child per core: a crash or a hang costs one child, and the parent keeps answering.
        worker_pool="prefork",
        # A hung decoder or GPU is ended; the stall watchdog of the child usually comes first.
        task_soft_time_limit=settings.soft_limit,
        task_time_limit=settings.hard_limit,
        # What SIGTERM leaves unfinished goes back to the queue before the process ends.
        worker_soft_shutdown_timeout=settings.grace,
        # Reconnect for ever: a worker that gave up would look alive and consume nothing.
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=4,
        broker_pool_limit=10,
        # Bounded: what could not be published stays in SQL and the sweep sends it later.
        task_publish_retry_policy={
            "max_retries": 5 if patient else 1,
            "interval_start": 0,
            "interval_step": 0.5,
            "interval_max": 3,
        },
        # Flower's picture. No "sent" events: they double the publishes.
        worker_send_task_events=True,
        task_send_sent_event=False,
        worker_enable_remote_control=True,
        # Loading a model takes seconds; a child that is not "up" in time would be killed.
        worker_proc_alive_timeout=120,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        broker_transport_options=transport_options(settings, 10 if patient else 4)
        | ({} if patient else QUICK_TRIES),
    )
    return app


def transport_options(settings: Settings, socket_timeout: float) -> dict[str, Any]:
    """Return the options of kombu's Redis transport."""
    return {
        # Lease and sweep recover within a minute; this is the second net, so it may be wide.
        "visibility_timeout": settings.visibility_timeout,
        # Look for overdue messages every 10 s, not every 100 s; never thousands at once.
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "unacked_restore_limit": 1000,
        # Without a time-out a hung Redis blocks for ever; a worker's must stay below DEAD_AFTER
        # less two HEARTBEATs, for its parent gives no sign of life meanwhile.
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        # A half-open connection is noticed in 31 s instead of 51 s.
        "health_check_interval": 15,
        "global_keyprefix": KEY_PREFIX,
        "priority_steps": [int(priority) for priority in Priority],
        "sep": SEPARATOR,
        "client_name": "classyard",
    }


def ping(app: Celery) -> None:
    """Check that Redis answers.

    Raises:
        BrokerError: if it does not.
    """
    try:
        with app.connection_for_write() as connection:
            connection.default_channel.client.ping()
    except BROKER_ERRORS as error:
        embedded = str(app.conf.broker_url).startswith("redis+socket:")
        hint = " ('classyard up' starts it)" if embedded else ""
        raise broker_error(f"Redis does not answer{hint}", error) from error


def broker_error(what: str, error: Exception) -> BrokerError:
    """Return a one-line error with the reason that Redis or kombu gave."""
    reason = str(error).strip() or type(error).__name__
    return BrokerError(f"{what}: {reason.splitlines()[0]}")


def broker_url(settings: Settings) -> str:
    """Return the URL of the Redis in force, the embedded one if none is set."""
    return settings.broker_url or embedded_url(settings.home)


def list_key(queue: str, priority: int) -> str:
    """Return the Redis list in which a queue's messages of one priority wait (kombu's naming)."""
    return f"{queue}{SEPARATOR}{priority}" if priority else queue


def __getattr__(name: str) -> Celery:
    """Make `celery -A broker.app ...` work: the settings are read when `app` is first asked for."""
    if name == "app":
        return make_app(read_settings())
    raise AttributeError(name)
