"""Introductions: what this host says of itself to its peers, and what is believed of what they say."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address

from daemon.libp2p import identify
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import identification
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.errors import StreamError
from daemon.libp2p.host.hearsay import Hearsay
from daemon.libp2p.host.interfaces import IpAddress, listening_addresses
from daemon.libp2p.host.peerstore import PeerStore
from daemon.libp2p.host.stream import Stream
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import PeerId, PublicKey
from daemon.libp2p.multiaddr import Multiaddr

logger = logging.getLogger(__name__)

_PROTOCOL_VERSION = "ipfs/0.1.0"
_PATIENCE = 10.0


class Introductions:
    """Identify and identify push, both ways, and where everybody listens."""

    def __init__(
        self,
        public_key: PublicKey,
        protocols: Collection[str],
        listeners: Sequence[socket.socket],
        own_addresses: Callable[[int], Iterable[IpAddress]],
        learned: Callable[[PeerId, Sequence[str]], None],
        *,
        agent: str,
    ) -> None:
        """Prepare.

        Args:
            public_key: this host's own.
            protocols: what this host speaks, at any time.
            listeners: where it listens.
            own_addresses: what stands for listening on all addresses, for an IP version.
            learned: is told who has introduced itself, and what it speaks.
            agent: name and version of the program.
        """
        self._loop = asyncio.get_running_loop()
        self._public_key = public_key
        self._agent = agent
        self._protocols = protocols
        self._listeners = listeners
        self._own_addresses = own_addresses
        self._learned = learned
        self._store = PeerStore()
        self.addresses: tuple[Multiaddr, ...] = ()
        """Where this host listens, as others are told."""
        self.hearsay = Hearsay(())
        """Which addresses are believed that others name."""
        self.look()

    def look(self) -> bool:
        """Look at the machine's own addresses; tell whether they are others than before."""
        addresses = listening_addresses(self._listeners, self._own_addresses)
        changed = addresses != self.addresses
        if changed:
            self.addresses = addresses
            self.hearsay = Hearsay(addresses)
        return changed

    def known(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """Return where a peer is believed to listen."""
        return self._store.addresses(peer, self._loop.time())

    def renew(self, peer: PeerId) -> None:
        """Believe what is known of a peer for longer: it was connected until now."""
        self._store.renew(peer, self._loop.time())

    async def ask(self, connection: Connection) -> None:
        """Have a peer introduce itself."""
        try:
            async with asyncio.timeout(_PATIENCE):
                said = await identification.ask(connection)
                self._learn(connection.peer_id, said)
                self._learned(connection.peer_id, said.protocols)
        except (StreamError, RemoteProtocolError, TimeoutError) as error:
            logger.debug("%s does not identify itself: %s", connection.peer_id, error)

    async def answer(self, stream: Stream) -> None:
        """Answer a peer that asks; a handler of streams."""
        await identification.tell(stream, self._about_me(stream.remote))

    async def take(self, stream: Stream) -> None:
        """Take in what a peer says unasked, since it has changed; a handler of streams."""
        said = await identification.read(stream)
        self._learn(stream.peer_id, said)
        if said.protocols:  # what is missing in a push is unchanged
            self._learned(stream.peer_id, said.protocols)

    async def push(self, connection: Connection) -> None:
        """Tell a peer unasked."""
        try:
            async with asyncio.timeout(_PATIENCE):
                stream = connection.open_stream(identify.PUSH_PROTOCOL)
                try:
                    await identification.tell(stream, self._about_me())
                finally:
                    stream.close()
        except (StreamError, RemoteProtocolError, TimeoutError) as error:
            logger.debug("%s cannot be told the new addresses: %s", connection.peer_id, error)

    def _learn(self, peer: PeerId, said: Identify) -> None:
        if said.listen_addresses:
            bare = (one.without_peer_id() for one in said.listen_addresses)
            self._store.replace(
                peer, (one for one in bare if one is not None and self.hearsay(one)), self._loop.time()
            )

    def _about_me(self, observed: tuple[str, int] | None = None) -> Identify:
        return Identify(
            public_key=self._public_key,
            listen_addresses=self.addresses,
            protocols=tuple(self._protocols),
            observed_address=Multiaddr.tcp(ip_address(observed[0]), observed[1]) if observed else None,
            protocol_version=_PROTOCOL_VERSION,
            agent_version=self._agent,
        )
