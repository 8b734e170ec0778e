"""What strangers, and peers, may take up of a host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from daemon.libp2p import yamux


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a host; times in seconds.

    Addresses are counted one by one, never by prefix: all nodes of an IPv6 cluster are in one.
    """

    connections: int = 512
    """Established, in both directions. When there are more, idle ones make room."""
    per_address: int = 16
    """Of these, inbound ones from one IP address."""
    handshakes: int = 128
    """Inbound connections that are not established yet."""
    handshakes_per_address: int = 8
    handshake: float = 10.0
    """From an inbound connection's start until it is established."""
    dials: int = 256
    """Outbound connections that are not established yet; of more, the oldest attempt is given up."""
    dial: float = 5.0
    """From the start of a dial, all addresses tried, until a connection is established."""
    negotiation: float = 10.0
    """From a stream's start until it is known what for."""
    silence: float = 60.0
    """How long a peer may leave a stream that it opened without a word."""
    idle: float = 30 * 60.0
    """How long a connection without streams is kept. It is what makes the next lookup fast."""
    grace: float = 5.0
    """The same for one of two connections to a peer, and before an idle one has to make room."""
    ping_interval: float = 30.0
    """Seconds of silence before a connection is tried by a ping."""
    ping_patience: float = 10.0
    per_peer: yamux.Limits = field(default_factory=lambda: yamux.Limits(inbound_streams=128, backlog=128))
    """Streams, and bytes received that nobody has read."""
    held: int = 16 * 1024 * 1024
    """Bytes that all peers take up, by streams, by what nobody has read, and by what they do not read.

    Beyond, the peer with the most is cut off.
    """


class Admission:
    """Counts what came in, by address, and says who has to wait outside."""

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._counts: Counter[str] = Counter()
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def full(self, address: str) -> bool:
        """Tell whether an address has as many as it may."""
        return self._counts[address] >= self._per_address

    def enter(self, address: str) -> bool:
        """Count one in; False when its address is full."""
        if self.full(address):
            return False
        self._counts[address] += 1
        self._total += 1
        return True

    def leave(self, address: str) -> None:
        """Count one out."""
        self._total -= 1
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    @property
    def overfull(self) -> bool:
        """Whether there are more than may be."""
        return self._total > self._limit

    def greediest(self) -> str:
        """Return the address with the most."""
        return self._counts.most_common(1)[0][0]
