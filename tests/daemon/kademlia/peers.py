"""Peers for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo


def peer(number: int, address: str | None = "/ip4/10.0.0.1/tcp/5001") -> PeerInfo:
    """The peer of a number, always the same one."""
    addresses = (Multiaddr.parse(address),) if address else ()
    return PeerInfo(PeerId(bytes.fromhex("002408011220") + number.to_bytes(32)), addresses)


def many(count: int, start: int = 1) -> list[PeerInfo]:
    return [peer(number) for number in range(start, start + count)]


peers = st.integers(1, 400).map(peer)
keys = st.integers(0, 60).map(lambda number: b"key %d" % number)
