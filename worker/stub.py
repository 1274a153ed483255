"""Stub: a classifier without pictures or network, for overhead benchmarks and fault tests.

The answer to a URI is a hash of it, so that any checker can tell the right label from a wrong one.
"""

from __future__ import annotations

import ctypes
import os
import time
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NoReturn

from core.errors import Code
from core.types import Classification, Classified, Failure, Prediction, StageSeconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.types import Outcome

#: Width and height that every picture is said to have.
SIDE: Final = 224

_FAULTS: Final = "stub://"


class StubClassifier:
    """Classifies like a `Pipeline`, from the URI alone.

    URIs for fault tests: `stub://crash/...` ends the process with status 9, `segv` with a real
    segmentation fault, `hang` sleeps for ever, `sleep/<seconds>` sleeps and answers, `fail/<code>`
    gives that `Failure`, `needs/<path>` an HTTP 503 until that file exists, `raise` a RuntimeError and `oom` a MemoryError for the whole chunk.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        self._answers: dict[int, tuple[tuple[Prediction, ...], ...]] = {}

    @property
    def batch_size(self) -> int:
        """Most images in one model call: there is none."""
        return 1

    def classify(
        self,
        uris: Sequence[str],
        roots: Sequence[Path],
        top_k: int,
        stop: Callable[[], None] | None = None,
        reuse: Callable[[str], Classified | None] | None = None,
    ) -> Classification:
        """Return one outcome per URI, in order; `roots` mean nothing here."""
        start = perf_counter()
        if stop is not None:
            stop()
        answers = self._answers_for(top_k)
        classes = len(answers)
        outcomes: list[Outcome] = []
        add = outcomes.append
        for uri in uris:
            if uri.startswith(_FAULTS):
                if stop is not None:
                    stop()
                if (failure := _misbehave(uri)) is not None:
                    add(failure)
                    continue
            digest = blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            if reuse is not None and (known := reuse(digest)) is not None:
                add(known)
                continue
            add(Classified(answers[int(digest[:8], 16) % classes], SIDE, SIDE, digest))
        return Classification(outcomes, StageSeconds(predict=perf_counter() - start))

    def close(self) -> None:
        """Do nothing: a stub holds nothing."""

    def _answers_for(self, top_k: int) -> tuple[tuple[Prediction, ...], ...]:
        """Return the predictions of every class that can be the best one."""
        if top_k not in self._answers:
            count = len(self._labels)
            self._answers[top_k] = tuple(
                tuple(
                    Prediction((best + rank) % count, self._labels[(best + rank) % count], score)
                    for rank, score in enumerate(0.5 ** (r + 1) for r in range(min(top_k, count)))
                )
                for best in range(count)
            )
        return self._answers[top_k]


def expected(uri: str, labels: Sequence[str]) -> int:
    """Return the class index that the stub gives `uri`."""
    digest = blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return int(digest[:8], 16) % len(labels)


def _misbehave(uri: str) -> Failure | None:
    """Do what a `stub://` URI asks for; None if it is to be answered afterwards."""
    kind, _, rest = uri.removeprefix(_FAULTS).partition("/")
    word = rest.partition("/")[0]
    match kind:
        case "crash":
            os._exit(9)
        case "segv":
            ctypes.string_at(0)
        case "hang":
            _hang()
        case "sleep":
            time.sleep(float(word))
        case "fail":
            return Failure(Code(word), "asked for by the URI")
        case "needs":
            if not Path("/", rest).exists():
                return Failure(Code.HTTP_5XX, "HTTP 503")
        case "raise":
            raise RuntimeError(f"asked for by {uri}")
        case "oom":
            raise MemoryError(f"asked for by {uri}")
    return None


def _hang() -> NoReturn:
    while True:
        time.sleep(3600)
