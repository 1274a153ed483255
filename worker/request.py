"""Celery's view of a chunk in work, as Flower and `inspect` may ask for it."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request


class DiscreetRequest(Request):  # type: ignore[misc]
    """Shows the description that the producer sent along, never the URIs: they may be signed."""

    def info(self, safe: bool = True) -> dict[str, Any]:
        """Return what there is to show; the arguments themselves are not for show."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown
