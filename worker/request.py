"""Celery's view of a chunk in work, as Flower and `inspect` may ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker import state
from celery.worker.request import Request

if TYPE_CHECKING:
    from billiard.einfo import ExceptionInfo


class DiscreetRequest(Request):  # type: ignore[misc]
    """Shows the description that the producer sent along, never the URIs: they may be signed."""

    def info(self, safe: bool = True) -> dict[str, Any]:
        """Return what there is to show; the arguments themselves are not for show."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown

    def on_failure(
        self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Say of a message whose child died that it failed: it goes back, and Celery is silent."""
        super().on_failure(exc_info, send_failed_event, return_ok)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        # billiard reports a child that ended by itself as the SystemExit it ended with.
        died = isinstance(error, (WorkerLostError, SystemExit))
        if died and not (state.should_stop or state.should_terminate):
            self.send_event("task-failed", exception="its child process died", traceback="")
