"""Where benchmarks keep what is slow to make and the same each time: pictures, weights, networks."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path


def workplace(name: str) -> Path:
    """Return a folder of this user's that outlives a run; `rm -r` it at will."""
    path = user_cache_path("classyard-benchmarks") / name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
