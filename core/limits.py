"""The limits that stages are handed: what may be fetched and decoded, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Where an image may come from and what fetching it may cost."""

    schemes: frozenset[str]
    ports: frozenset[int]
    networks: tuple[IPv4Network | IPv6Network, ...]
    roots: tuple[Path, ...]
    max_bytes: int
    connect_timeout: float
    read_timeout: float
    total_timeout: float
    min_rate: int
    max_redirects: int
    tries: int
    per_host: int
    user_agent: str
    buckets: tuple[str, ...] = ()
    anonymous: frozenset[str] = frozenset()
    s3_endpoint: str = ""
    rate_per_host: float = 0.0
    robots: bool = False


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Which pictures are decoded at all."""

    formats: tuple[str, ...]
    max_pixels: int
    max_side: int
    max_tiff_pixels: int = 0
    accept_truncated: bool = False
    #: For one picture: a small progressive JPEG may ask for an hour.
    seconds: float = 10.0
