"""What the workers of a yard tell Flower."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

from broker.app import make_app

if TYPE_CHECKING:
    from tests.support.yard import Yard


class Events:
    """All events of a yard's workers, as Flower hears them."""

    def __init__(self, yard: Yard) -> None:
        self.heard: list[dict[str, Any]] = []
        self._app = make_app(yard.settings)
        self._stop = False
        self._thread = Thread(target=self._listen)

    def __enter__(self) -> Events:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(10)
        self._app.close()

    def _listen(self) -> None:
        with self._app.connection() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self.heard.append})
            while not self._stop:
                try:
                    receiver.capture(limit=None, timeout=0.5, wakeup=False)
                except TimeoutError:
                    continue
