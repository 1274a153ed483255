"""What a host's robots.txt allows us (RFC 9309), read once and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from core.errors import Code
from worker.fetch.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from protego import Protego

    from worker.fetch.uri import HttpUrl

#: Seconds that rules are kept, and hosts whose rules are.
_KEPT: Final = 3600.0
_HOSTS: Final = 256
#: Longest pause between two requests that a host is granted; more would stop the chunk.
_LONGEST_GAP: Final = 10.0
#: No file, or none for us: everything is allowed.
_NO_RULES: Final = frozenset({Code.HTTP_4XX, Code.EMPTY})


@dataclass(slots=True)
class _Rules:
    """One host's rules; the lock lets one thread read them while the others wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    expires: float = 0.0
    parsed: Protego | None = None


class Robots:
    """Judges addresses; thread-safe.

    Args:
        get: returns the bytes at an address, without asking us.
        user_agent: what servers are told; its first word is the name that rules are for.
        clock: seconds that only grow.
    """

    def __init__(
        self, get: Callable[[HttpUrl], bytes], user_agent: str, clock: Callable[[], float]
    ) -> None:
        self._get = get
        self._name = user_agent.partition("/")[0].split(" ")[0]
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: OrderedDict[str, _Rules] = OrderedDict()

    def check(self, url: HttpUrl) -> float:
        """Return the seconds that the host asks for between two requests.

        Raises:
            Refused: ROBOTS_FORBIDDEN; or why the rules cannot be read, for then nothing is allowed.
        """
        rules = self._rules(url)
        if rules is None:
            return 0.0
        if not rules.can_fetch(str(url), self._name):
            raise Refused(Code.ROBOTS_FORBIDDEN, "the host's robots.txt does not allow it")
        return min(rules.crawl_delay(self._name) or 0.0, _LONGEST_GAP)

    def _rules(self, url: HttpUrl) -> Protego | None:
        place = f"{url.scheme}://{url.authority}"
        with self._lock:
            rules = self._hosts.setdefault(place, _Rules())
            self._hosts.move_to_end(place)
            while len(self._hosts) > _HOSTS:
                self._hosts.popitem(last=False)
        with rules.lock:
            if rules.expires <= self._clock():
                rules.parsed = self._read(url)
                rules.expires = self._clock() + _KEPT
            return rules.parsed

    def _read(self, url: HttpUrl) -> Protego | None:
        from protego import Protego

        try:
            text = self._get(replace(url, target="/robots.txt"))
        except Refused as refused:
            if refused.code in _NO_RULES:
                return None
            raise Refused(
                refused.code, f"robots.txt: {refused.detail}", retry_after=refused.retry_after
            ) from None
        return Protego.parse(text.decode("utf-8", "replace"))
