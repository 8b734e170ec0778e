"""The interface of a router; the in-memory router and the libp2p router implement it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Peer:
    """A node that claims to have a piece of content."""

    id: str
    """The libp2p peer ID in base58, or any other name that is the node's own."""
    addresses: tuple[IPv4Address | IPv6Address, ...]
    """Where its registry can be reached, to be tried as RFC 8305 has it."""
    registry_port: int


class Router(Protocol):
    """What the daemon needs of a router. Keys are digests and image names, as text."""

    @property
    def id(self) -> str:
        """This node's own, the ``Peer.id`` by which others know it."""

    async def ready(self) -> bool:
        """Tell whether the node knows others and has been connected."""

    def lookup(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
        """Yield up to ``count`` peers that advertise a key, as they are found; never this node itself.

        It ends when no more are to be found, and is to be closed by who leaves it before. It does not watch
        the clock: whoever waits does. What costs something may wait until more is asked for.
        """

    async def advertise(self, keys: Iterable[str]) -> None:
        """Tell the network that this node has keys, and keep telling it until they are withdrawn."""

    async def withdraw(self, keys: Iterable[str]) -> None:
        """Stop telling it."""

    async def peers(self) -> Sequence[Peer]:
        """Return the nodes that this one knows."""

    def addresses(self) -> Sequence[str]:
        """Return this node's own multiaddrs."""

    async def run(self) -> None:
        """Take part in the network until cancelled."""
