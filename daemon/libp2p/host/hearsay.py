"""Addresses that others name, of themselves or of third parties, and which of them are believed.

Whoever names an address has this node connect to it. Nobody shall send it to itself, to what listens on
loopback or on its own addresses, to a cloud's metadata service, or to look up names in DNS. Addresses that
the operator names, for bootstrapping, are tried as they are.

Only an IP address with a TCP port is one at which a node can be reached, and nothing else is kept: other
parts could make an address as long as they like.

Virtual machines may all have one and the same address, that of their NAT card, and announce nothing else.
Where this node itself listens others therefore may as well; whoever connects has to leave that address out.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address

from daemon.libp2p.host.interfaces import IpAddress, is_announced
from daemon.libp2p.multiaddr import Multiaddr


class Hearsay:
    """Tells whether another node can be at an address; for as long as this node's own stay as they are."""

    def __init__(self, own: Iterable[Multiaddr]) -> None:
        """Take where this node listens."""
        self._own = frozenset(own)
        here = {ip for one in self._own if (ip := _plain(one)) is not None}
        # Nodes that have nothing but loopback are all on one machine, which happens in tests and demos.
        self._one_machine = bool(here) and all(ip.is_loopback for ip in here)
        self._here = frozenset[IpAddress]() if self._one_machine else frozenset(here)

    def __call__(self, address: Multiaddr) -> bool:
        """Tell whether to believe that a peer is at an address."""
        ip = _plain(address)
        if ip is None:
            return False
        if address in self._own:
            return True
        return self._one_machine if ip.is_loopback else ip not in self._here and is_announced(ip)


def _plain(address: Multiaddr) -> IpAddress | None:
    """Return an address' IP, IPv4 as such; None for anything but an IP and a TCP port.

    That goes for names too, and for a zone, which only one link knows.
    """
    ip = address.ip if address.tcp_port else None
    if isinstance(ip, IPv6Address):
        return None if ip.scope_id else ip.ipv4_mapped or ip
    return ip
