"""Which network addresses an image may come from. Pure; judges resolved addresses, never names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network

# Spelled out because `is_global` differs between Python releases and calls some of these public:
# 3.11 passes multicast, 192.0.0.9, 192.88.99.1 and every IPv6 form that wraps a private IPv4.
_CLOSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# Public IPv6 lives in here; so NAT64, mapped, compatible, local and multicast forms are all outside.
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_CLOSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo and other special uses
        "2001:db8::/32",
        "2002::/16",  # 6to4: wraps an IPv4 address
        "3fff::/20",
    )
)


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """Return the address in a socket's host field, without a zone, IPv4-mapped ones unwrapped."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_allowed(address: IPv4Address | IPv6Address, opened: Iterable[Network]) -> bool:
    """Whether images may come from `address`: it is public, or in a network the operator opened."""
    return is_public(address) or any(address in network for network in opened)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether `address` is an ordinary unicast address of the public internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _CLOSED_V4)
    return (
        address.is_global
        and address in _PUBLIC_V6
        and not any(address in network for network in _CLOSED_V6)
    )
