"""The worker as Celery starts it: `celery -A worker.app worker`."""

from __future__ import annotations

import logging
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.exceptions import Ignore, WorkerShutdown
from celery.worker import state
from sqlalchemy.exc import DBAPIError

from broker.app import CLASSIFY, make_app
from core.errors import ClassyardError
from core.modelspec import read_model
from core.prepare import prepare_model, require_engine
from core.settings import Settings, read_settings
from core.tracing import TRACEPARENT
from db.chunks import DUPLICATE
from db.session import open_database
from worker.child import ChildProcess, Stop
from worker.consumer import ImpatientDispatcher, make_consumer
from worker.exporting import open_exporting
from worker.identity import describe, slots_for
from worker.keeper import Keeper
from worker.logs import set_up_logging
from worker.message import BadMessageError, read_message
from worker.request import DiscreetRequest
from worker.telemetry import Delivery

if TYPE_CHECKING:
    from celery import Celery, Task

log = logging.getLogger("classyard.worker")

#: Seconds between two tries to reach the database at start.
DATABASE_WAIT = 2.0


def make_worker_app(settings: Settings) -> Celery:
    """Return the Celery app with the one task, the parent's timers and the children's start.

    Raises:
        ClassyardError: if a model to preload cannot be served here, or the engine is not installed.
    """
    require_engine(settings)
    app = make_app(settings)
    slots = slots_for(settings)
    app.conf.worker_concurrency = slots
    info = describe(settings, slots)
    stop = Stop()
    exporting = open_exporting(settings)
    child = ChildProcess(app, settings, info.id, stop, exporting.folder if exporting else None)
    # Impatient in both: the parent's loop stands still meanwhile, and its timers come again.
    record = open_database(settings.database, forks=True, tries=1)
    keeper = Keeper(make_app(settings, patient=False), record, settings, info, exporting)
    app.conf.worker_consumer = make_consumer(keeper)
    app.events.dispatcher_cls = ImpatientDispatcher
    _add_task(app, child)
    app.finalize()
    for builtin in [name for name in app.tasks if name != CLASSIFY]:
        app.tasks.unregister(builtin)  # celery.map and the like: messages for them run other tasks
    app.steps["worker"].add(_keeper_step(keeper, settings))
    signals.setup_logging.connect(partial(set_up_logging, settings.log_format), weak=False)
    signals.worker_process_init.connect(child.start, weak=False)
    signals.worker_process_shutdown.connect(child.end, weak=False)
    signals.worker_shutting_down.connect(lambda **_: stop.begin(settings.grace), weak=False)
    signals.worker_shutting_down.connect(lambda **_: keeper.stop_sweeping(), weak=False)
    # After the pool: a worker that left while its children finish would be taken for dead.
    signals.worker_shutdown.connect(lambda **_: keeper.depart(), weak=False)
    for refused in (signals.task_unknown, signals.task_rejected):
        refused.connect(lambda **_: keeper.count("messages_refused"), weak=False)
    return app


def _add_task(app: Celery, child: ChildProcess) -> None:
    @app.task(name=CLASSIFY, Request=DiscreetRequest, bind=True)  # type: ignore[untyped-decorator]
    def classify(task: Task, *unnamed: Any, **fields: Any) -> str:
        try:
            if unnamed:
                raise BadMessageError("fields without names")
            message = read_message(fields)
        except BadMessageError as error:
            log.warning("refused a message: %s", error, extra={"action": "message_refused"})
            child.refused()
            return "refused"
        delivery = _delivery(task.request)
        ending = child.runtime.process(message, delivery)
        if delivery.redelivered and ending == DUPLICATE:
            # Not "succeeded": its child died the first time, and Flower shall go on saying so.
            raise Ignore
        return ending


def _delivery(request: Any) -> Delivery:
    address = request.delivery_info or {}
    return Delivery(bool(address.get("redelivered")), request.get(TRACEPARENT))


def _keeper_step(keeper: Keeper, settings: Settings) -> type[bootsteps.StartStopStep]:
    class KeeperStep(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts the keeper before the first message is taken."""

        requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

        def start(self, worker: Any) -> None:
            """Check formats, arrive, check the models to preload, start the timers."""
            try:
                _check_formats(settings)
                _arrive(keeper)
                for name in settings.preload:
                    prepare_model(read_model(name, settings.models_path), settings)
            except ClassyardError as error:
                # A worker that cannot serve must not take a single message.
                sys.stderr.write(f"classyard worker: {error}\n")
                raise WorkerShutdown(1) from error
            keeper.keep(worker.timer)

    return KeeperStep


def _check_formats(settings: Settings) -> None:
    """Refuse formats that nothing here reads: else they would show with the first chunk only."""
    if settings.formats == Settings.model_fields["formats"].default:
        return  # known to be read: the parent stays small without Pillow
    from worker.decode.readers import prepare

    prepare(settings.image_limits)


def _arrive(keeper: Keeper) -> None:
    """Enter the table, waiting for a database that does not answer yet; not for a foreign one."""
    while True:
        try:
            return keeper.arrive()
        except (ClassyardError, DBAPIError) as error:
            if not any(isinstance(e, DBAPIError) for e in (error, error.__cause__)):
                raise
            log.warning("%s", str(error).splitlines()[0], extra={"action": "database_awaited"})
            state.maybe_shutdown()
            time.sleep(DATABASE_WAIT)


app = make_worker_app(read_settings())
