"""How often a client may come: a token bucket for each address, in a table of bounded size."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

MAX_CLIENTS = 10_000


class RateLimit:
    """Lets a client in ``rate`` times a second, and ``burst`` times at once after a rest."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By client: how much was left, and when. Who was not seen for longest comes first."""

    def admit(self, address: str, now: float) -> bool:
        """Say whether a client may come in at a time in seconds."""
        client = client_of(address)
        left, seen = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - seen) * self._rate)
        admitted = left >= 1
        self._buckets[client] = (left - 1 if admitted else left), now
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return admitted


def client_of(address: str) -> str:
    """Return what an address counts as: an IPv6 host can choose any address of its /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
