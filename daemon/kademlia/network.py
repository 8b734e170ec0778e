"""What the DHT needs of whatever carries its messages: a libp2p host, or a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from daemon.kademlia.message import Message
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo


class NetworkError(Exception):
    """A peer could not be reached, did not answer in time, or broke the rules."""


class Network(Protocol):
    """Carries messages to peers. Every call ends within a time limit of the network's own."""

    async def request(self, peer: PeerInfo, message: Message) -> Message:
        """Send a request and return its answer.

        The network may know better addresses of the peer than the ones given, or already be connected.

        Raises:
            NetworkError: there is no answer.
        """

    async def send(self, peer: PeerInfo, messages: Sequence[Message]) -> None:
        """Send messages that are not answered, over one stream.

        Raises:
            NetworkError: not all of them could be handed over.
        """

    def addresses(self) -> Sequence[Multiaddr]:
        """Return where others reach this node: without loopback addresses and peer IDs."""
