"""Hosts for tests: network namespaces with a line each to a hub, which can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=10)


def require_namespaces() -> None:
    """Skip where namespaces cannot be made."""
    if shutil.which("ip") is None:
        pytest.skip("no ip command: install iproute2")
    name = f"cy{os.getpid()}probe"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces need root here: {error.stderr.strip()}")


@dataclass
class Hosts:
    """A hub and, each on a network of its own with it, further hosts."""

    names: Sequence[str]
    _prefix: str = field(default_factory=lambda: f"cy{os.getpid()}")

    def __enter__(self) -> Self:
        require_namespaces()
        try:
            self._make("hub")
            for number, name in enumerate(self.names, 1):
                self._make(name)
                self._join(number, name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("hub", *self.names):
            command = ["ip", "netns", "del", self._space(name)]
            subprocess.run(command, check=False, capture_output=True, timeout=10)

    def inside(self, name: str) -> list[str]:
        """The beginning of a command line that runs on a host."""
        return ["ip", "netns", "exec", self._space(name)]

    def hub_address(self, name: str) -> str:
        """The hub's address as a host sees it."""
        return f"10.77.{self.names.index(name) + 1}.1"

    def cut(self, name: str) -> None:
        """Pull a host's cable: what is sent is lost, and nobody is told."""
        ip("-n", self._space("hub"), "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        ip("-n", self._space("hub"), "link", "set", f"to-{name}", "up")

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _make(self, name: str) -> None:
        ip("netns", "add", self._space(name))
        ip("-n", self._space(name), "link", "set", "lo", "up")

    def _join(self, number: int, name: str) -> None:
        hub, host = self._space("hub"), self._space(name)
        ip("-n", hub, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0",
           "netns", host)  # fmt: skip
        for space, device, last in ((hub, f"to-{name}", 1), (host, "eth0", 2)):
            ip("-n", space, "addr", "add", f"10.77.{number}.{last}/24", "dev", device)
            ip("-n", space, "link", "set", device, "up")
