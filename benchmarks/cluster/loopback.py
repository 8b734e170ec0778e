"""What nodes announce here: loopback, which real ones never do."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address


def loopback_only(version: int) -> Iterable[IPv4Address | IPv6Address]:
    """Return the addresses of this machine that a benchmark may use."""
    return [IPv4Address("127.0.0.1")] if version == 4 else []
