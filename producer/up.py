"""What `classyard up` starts and looks after: the table of its children, and the crew that runs.

A further child is one line in `CHILDREN` and one flag of the command.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from producer.flower import USER, flower_service
from producer.logtail import LogTail
from producer.web.listening import place_of, web_service
from producer.yard import metrics_service, worker_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from core.settings import Settings
    from producer.services import Service


@dataclass(frozen=True, slots=True)
class Child:
    """A program that `up` can start: how it is made, and where a person finds it."""

    service: Callable[[Settings], Service]
    place: Callable[[Settings, Service], str]


def _log(_: Settings, service: Service) -> str:
    return str(service.log)


def _flower(settings: Settings, service: Service) -> str:
    password = service.environment["CLASSYARD_FLOWER_PASSWORD"]
    return f"http://{settings.flower_address}:{settings.flower_port} (user {USER}, password {password})"


def _metrics(settings: Settings, _: Service) -> str:
    own = f", the worker's on port {port}" if (port := settings.worker_metrics_port) else ""
    return f"http://{settings.metrics_address}:{settings.metrics_port}/metrics{own}"


def _web(settings: Settings, service: Service) -> str:
    environment = service.environment
    found = settings.model_copy(update={"web_port": int(environment["CLASSYARD_WEB_PORT"])})
    return place_of(found, environment["CLASSYARD_WEB_PASSWORD"])


#: By name, in the order they are started.
CHILDREN: Final = {
    "worker": Child(worker_service, _log),
    "flower": Child(flower_service, _flower),
    "metrics": Child(metrics_service, _metrics),
    "web": Child(web_service, _web),
}


class Crew:
    """The children that run: started together, each started again when it dies, stopped together."""

    def __init__(self, settings: Settings, names: Iterable[str]) -> None:
        self._settings = settings
        self._children = {name: CHILDREN[name] for name in CHILDREN if name in set(names)}
        self.services = {name: child.service(settings) for name, child in self._children.items()}
        self._tails = {name: LogTail(service.log) for name, service in self.services.items()}

    def __enter__(self) -> Self:
        """Start all."""
        try:
            for service in self.services.values():
                service.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all."""
        self.stop()

    def stop(self) -> None:
        """Ask all to end, then wait for each: together they take no longer than the slowest."""
        for service in self.services.values():
            service.ask_to_stop()
        for service in self.services.values():
            service.stop()

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield each child's name and where to find it."""
        for name, child in self._children.items():
            yield name, child.place(self._settings, self.services[name])

    def wait_until_open(self, seconds: float = 20) -> None:
        """Wait until all children take connections; of one that dies instead, `supervise` tells."""
        deadline = time.monotonic() + seconds
        for service in self.services.values():
            while service.exit_code is None and not service.is_open():
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)

    def supervise(self) -> Iterator[tuple[str, str]]:
        """Start again what died; yield what happened and what the children logged, by child."""
        for name, service in self.services.items():
            for line in self._tails[name].lines():
                yield name, line
            if said := service.supervise():
                yield "up", said
