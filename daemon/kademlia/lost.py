"""Peers that have stopped answering, to be asked again: they may be back, or behind a network that heals.

A routing table does without them at once. Here they are kept for a day, and asked after ever longer times.
"""

from __future__ import annotations

import math

from daemon.kademlia.parameters import REFRESH_INTERVAL
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

MAX_LOST = 128
"""Peers kept; of more, those lost first are forgotten."""
KEPT = 24 * 3600.0

_FIRST_DELAY = 5.0


class _Lost:
    __slots__ = ("ask_at", "delay", "lost_at", "peer")

    def __init__(self, peer: PeerInfo, now: float) -> None:
        self.peer = peer
        self.lost_at = now
        self.delay = _FIRST_DELAY
        self.ask_at = now + _FIRST_DELAY


class LostPeers:
    """Whom to ask for a sign of life, and when."""

    def __init__(self) -> None:
        self._lost: dict[bytes, _Lost] = {}

    def __len__(self) -> int:
        return len(self._lost)

    def add(self, peer: PeerInfo, now: float) -> None:
        """Note that a peer has stopped answering."""
        if len(self._lost) >= MAX_LOST:
            del self._lost[next(iter(self._lost))]
        self._lost[peer.id.raw] = _Lost(peer, now)

    def answered(self, peer: PeerId) -> bool:
        """Note that a peer answers; return whether it was lost."""
        return self._lost.pop(peer.raw, None) is not None

    def due(self, now: float) -> list[PeerInfo]:
        """Return the peers to ask now. Those that do not answer are due again after twice the time."""
        due = [lost for lost in self._lost.values() if lost.ask_at <= now]
        for lost in due:
            lost.delay = min(2 * lost.delay, REFRESH_INTERVAL)
            lost.ask_at = now + lost.delay
            if now - lost.lost_at > KEPT:
                del self._lost[lost.peer.id.raw]
        return [lost.peer for lost in due]

    def wake_at(self) -> float:
        """Return when somebody is to be asked."""
        return min((lost.ask_at for lost in self._lost.values()), default=math.inf)
