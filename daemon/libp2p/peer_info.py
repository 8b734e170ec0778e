"""What has to be known of a peer to dial it."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer and where it listens."""

    id: PeerId
    addresses: tuple[Multiaddr, ...]
    """Without the peer's ID at their ends."""
