"""Where the web page listens: the address, the port, and when a password must stand before it."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from core.errors import ClassyardError
from core.settings import LOOPBACK
from producer.flower import USER, new_password
from producer.services import STOP_EXTRA, Service, from_here

if TYPE_CHECKING:
    from core.settings import Settings

#: Ports tried from the usual one on, where none was asked for.
PORTS: Final = 20
#: Names of this machine that every browser knows.
OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Names:
    """The `Host` headers that are answered. `any_address`: whatever IP address they hold, too."""

    known: frozenset[str]
    any_address: bool

    def allow(self, host: str) -> bool:
        """Whether a `Host` header names us. The port does not matter: tunnels change it."""
        name, colon, port = host.rpartition(":")
        bare = (name if colon and port.isdigit() else host).lower()
        return bare in self.known or (self.any_address and _is_address(bare.strip("[]")))


def names(settings: Settings) -> Names:
    """Return the names under which the page may be asked for."""
    address = settings.web_address
    wild = _is_address(address) and ip_address(address).is_unspecified
    own = f"[{address}]" if ":" in address else address.lower()
    return Names(OWN_NAMES | {own} | {host.lower() for host in settings.web_hosts}, wild)


def is_local(address: str) -> bool:
    """Whether only programs of this machine can reach an address."""
    return address in LOOPBACK or (_is_address(address) and ip_address(address).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_installed() -> bool:
    """Whether the web page's own parts are installed."""
    return all(find_spec(name) for name in ("jinja2", "multipart", "starlette", "uvicorn"))


def open_door(settings: Settings) -> socket.socket:
    """Return the socket to listen on: the port that was asked for, or the first free one.

    Raises:
        ClassyardError: if it is taken or the address is not this machine's, or if the address
            is open to others and no password is set.
    """
    address = settings.web_address
    if not is_local(address) and not settings.web_password:
        raise ClassyardError(
            f"the web page on {address} needs a password: set CLASSYARD_WEB_PASSWORD, "
            "or name a file with --password-file"
        )
    first = settings.web_port
    asked = "web_port" in settings.model_fields_set
    for port in range(first, min(first + (1 if asked else PORTS), 2**16)):
        try:
            return _listen(address, port)
        except OSError as error:
            reason = error.strerror or str(error)
    raise ClassyardError(
        f"the web page cannot listen on {address} port {first}: {reason}; "
        "choose another with CLASSYARD_WEB_PORT and CLASSYARD_WEB_ADDRESS"
    )


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=128)


def url_of(settings: Settings) -> str:
    """Return the address to type into a browser on this machine."""
    address = from_here(settings.web_address)
    shown = f"[{address}]" if ":" in address else address
    return f"http://{shown}:{settings.web_port}/"


def place_of(settings: Settings, password: str) -> str:
    """Return address, user and password, to be printed where the operator reads it."""
    behind = f" (user {USER}, password {password})" if password else ""
    return f"{url_of(settings)}{behind}"


def web_service(settings: Settings) -> Service:
    """Return the web page as a service, on a free port, with a password made up if it needs one.

    Raises:
        ClassyardError: if the port that was asked for is taken.
    """
    password = settings.web_password
    if not password and not is_local(settings.web_address):
        password = new_password()
    settings = settings.model_copy(update={"web_password": password})
    with open_door(settings) as door:
        settings = settings.model_copy(update={"web_port": door.getsockname()[1]})
    return Service(
        name="web",
        command=[sys.executable, "-P", "-m", "producer", "web"],
        log=settings.home / "logs" / "web.log",
        environment=settings.as_environment(),
        stop_seconds=STOP_EXTRA,
        door=(from_here(settings.web_address), settings.web_port),
    )
