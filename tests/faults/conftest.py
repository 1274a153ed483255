"""Fixtures of the fault tests, and the choice between the short subset and the whole matrix."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from core.settings import read_settings
from tests.faults.lab import Lab, make_settings
from tests.faults.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from core.settings import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults",
        default="short",
        choices=("short", "once", "full"),
        help="short: some rows; once: every row, once; full: every row with its repeats",
    )
    parser.addoption("--faults-seed", type=int, default=None, help="seed of the fault tests")


def extent(config: pytest.Config) -> str:
    # The option exists only if pytest was pointed at this folder.
    return str(config.getoption("--faults", default="short"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if extent(config) != "short":
        for item in items:
            item.add_marker(pytest.mark.timeout(2400), append=False)  # many repeats
        return
    dropped = [item for item in items if item.get_closest_marker("faults_full")]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often to repeat a fault: in the short subset, and in the whole matrix."""
    return lambda short, long: long if extent(request.config) == "full" else short


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed, printed with a failure and written in the book."""
    given = request.config.getoption("--faults-seed", default=None)
    chosen = int(given) if given is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {chosen}")
    return chosen


@pytest.fixture
def open_lab(
    home: Path, database_url: str, seed: int, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Lab]]:
    """Opens labs of this test's own; keyword arguments are settings, `durable` is Redis's."""
    patience = 1.0 if extent(request.config) == "short" else 5.0  # an hour on a shared machine
    with ExitStack() as stack:

        def open_one(*, durable: bool = True, **changes: object) -> Lab:
            redis = RedisServer(home, durable=durable)
            redis.start()
            stack.callback(redis.close)
            settings: Settings = read_settings(
                home=home, database_url=database_url, engine="stub", concurrency=2
            )
            return stack.enter_context(
                Lab(
                    make_settings(settings, redis, **changes),
                    redis=redis,
                    seed=seed,
                    patience=patience,
                )
            )

        yield open_one


@pytest.fixture
def lab(open_lab: Callable[..., Lab]) -> Lab:
    """A lab with quick recovery."""
    return open_lab()
