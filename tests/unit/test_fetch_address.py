from __future__ import annotations

from ipaddress import ip_network

import pytest

from worker.fetch.address import is_allowed, parse_address


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254",
        "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.9",
        "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255",
        "::", "::1", "::127.0.0.1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1", "2001:10::1", "2001:db8::1",
        "2002:7f00:1::1", "2002:a00:1::", "3fff::1", "fc00::1", "fd00::1", "fd00:ec2::254",
        "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_closed(text: str) -> None:
    assert not is_allowed(parse_address(text), ())


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.1.0.1", "100.128.0.1", "::ffff:8.8.8.8",
     "2606:4700:4700::1111", "2a00:1450:4001:80e::200e"],
)  # fmt: skip
def test_public_addresses_are_open(text: str) -> None:
    assert is_allowed(parse_address(text), ())


def test_the_operator_may_open_a_network() -> None:
    opened = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert is_allowed(parse_address("10.1.2.3"), opened)
    assert is_allowed(parse_address("::ffff:10.1.2.3"), opened)
    assert is_allowed(parse_address("fd00::1"), opened)
    assert not is_allowed(parse_address("10.2.0.1"), opened)
