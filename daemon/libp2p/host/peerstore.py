"""What is known of peers: where they listen, until when that is believed, and what they speak."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr

VALIDITY = 60 * 60.0
"""Seconds for which an address is believed after it was heard of last."""
MAX_PEERS = 4096
MAX_ADDRESSES = 16
"""Of one peer."""


class PeerStore:
    """Addresses by peer, bounded: who was not heard of for longest is forgotten first."""

    def __init__(self) -> None:
        self._peers: OrderedDict[PeerId, dict[Multiaddr, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer: PeerId, addresses: Iterable[Multiaddr], now: float) -> None:
        """Believe addresses of a peer from now on, again or anew."""
        known = {address: until for address, until in self._peers.pop(peer, {}).items() if until > now}
        for address in addresses:
            known.pop(address, None)
            known[address] = now + VALIDITY
        while len(known) > MAX_ADDRESSES:
            del known[next(iter(known))]
        if known:
            self._peers[peer] = known
        while len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)

    def replace(self, peer: PeerId, addresses: Iterable[Multiaddr], now: float) -> None:
        """Believe these addresses of a peer and no others: it said so itself."""
        self._peers.pop(peer, None)
        self.add(peer, addresses, now)

    def renew(self, peer: PeerId, now: float) -> None:
        """Believe what is known of a peer for longer: it is connected."""
        self.add(peer, self.addresses(peer, now), now)

    def addresses(self, peer: PeerId, now: float) -> tuple[Multiaddr, ...]:
        """Return the addresses of a peer that are believed, the last heard of last."""
        known = self._peers.get(peer, {})
        return tuple(address for address, until in known.items() if until > now)
