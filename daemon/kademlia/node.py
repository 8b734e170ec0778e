"""A node of the DHT: what the other modules do, put together over a network.

    node = Node(peer_id, network)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(node.run())
        node.found(peer)                 # from a bootstrapper, or whoever connects and speaks the protocol
        node.provide([content_key("sha256:…")])
        await node.find_providers(content_key("sha256:…"), 3, found)

The network calls ``answer`` with what others ask. Times are those of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random

from daemon.kademlia.key import position
from daemon.kademlia.lookup import ProviderLookup
from daemon.kademlia.lost import MAX_LOST
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.network import Network
from daemon.kademlia.parameters import PROVIDE_DELAY, PROVIDE_INTERVAL, K
from daemon.kademlia.provide import Schedule
from daemon.kademlia.provider_store import ProviderStore
from daemon.kademlia.providing import Providing
from daemon.kademlia.search import Search
from daemon.kademlia.server import Server
from daemon.kademlia.table import Table
from daemon.kademlia.upkeep import Upkeep
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

_SWEEP_INTERVAL = 60.0
_SETTLED_AFTER = PROVIDE_INTERVAL + PROVIDE_DELAY
_GROWTH = 1.5  # of the routing table; then so many others are nearest to a key that it is provided again


class Node:
    """A member of the network, both client and server. To be made while an event loop runs."""

    def __init__(self, local: PeerId, network: Network, random: Random | None = None) -> None:
        random = random or Random()  # noqa: S311  # it spreads load and guards nothing
        self._loop = asyncio.get_running_loop()
        self.table = Table(local)
        self.store = ProviderStore(random)
        self.schedule = Schedule(self.table.position, self._loop.time())
        self.search = Search(network, self.table, self._joined, self._left)
        self._upkeep = Upkeep(self.search, random, self._refreshed)
        self._providing = Providing(self.schedule, self.search, network, random)
        self._server = Server(self.table, self.store, self.schedule, network.addresses)
        self._told_to: int | None = None  # size of the table when all was last provided, or smaller since
        self._undisturbed_since = self._loop.time()
        self._away: dict[bytes, None] = {}  # whose connections have ended, in this order; a bounded set

    @property
    def connected(self) -> bool:
        """Whether any other node is known to answer."""
        return len(self.table) > 0

    async def run(self) -> None:
        """Take part in the network until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.search.run())
            tasks.create_task(self._upkeep.run())
            tasks.create_task(self._providing.run())
            tasks.create_task(self._sweep())

    def found(self, peer: PeerInfo) -> None:
        """Take note of a peer that is said to speak the protocol, and of where it is reached now."""
        self._upkeep.found(peer)
        if self.table.get(peer.id):
            self._welcome_back(peer)

    def disconnected(self, peer: PeerId) -> None:
        """Take note that the last connection to a peer has ended.

        It may be started anew, with no memory of records; or it is this node that is cut off, and is not told
        what others provide meanwhile.
        """
        self._undisturbed_since = self._loop.time()
        if self.table.get(peer):
            self._away[peer.raw] = None
            if len(self._away) > MAX_LOST:
                del self._away[next(iter(self._away))]

    def gone(self, peer: PeerId) -> None:
        """Take note that a peer does not speak the protocol any more."""
        if self.table.remove(peer):
            self._left()

    def answer(self, sender: PeerId, address: str, request: Message) -> Message | None:
        """Return the answer to a peer's request, made from an IP address; None when it has none.

        Raises:
            RemoteProtocolError: it is not served; the stream is to be reset.
        """
        return self._server.answer(sender, address, request, self._loop.time())

    def provide(self, keys: Iterable[bytes]) -> None:
        """Tell the network that this node provides what is under keys, and keep telling it."""
        self._providing.add(keys)

    def withdraw(self, keys: Iterable[bytes]) -> None:
        """Stop telling it."""
        self.schedule.remove(keys)

    def known_providers(self, key: bytes) -> list[PeerInfo]:
        """Return the other nodes that are known to provide what is under a key, without asking anybody."""
        return self.store.get(key, self._loop.time())

    def find_providers(
        self, key: bytes, count: int, found: Callable[[PeerInfo], None]
    ) -> asyncio.Future[None]:
        """Call ``found`` for up to ``count`` other nodes that provide what is under a key, as they are found.

        What is known here comes at once. The future is done when no more are to be found; cancelling it ends
        the search.
        """
        target = position(key)
        lookup = ProviderLookup(target, self.table.nearest(target), self.table.local, count)
        for provider in lookup.provided(self.known_providers(key)):
            found(provider)
        if lookup.found and self._knows_all():
            lookup.stop()

        def heard(answer: Message) -> None:
            for provider in lookup.provided(self._completed(peer) for peer in answer.providers):
                found(provider)

        return self.search.look_up(lookup, Message(MessageType.GET_PROVIDERS, key), heard)

    async def closest(self, key: bytes) -> list[PeerInfo]:
        """Return the K nodes nearest to a key, without this one."""
        return await self.search.closest(key)

    def _knows_all(self) -> bool:
        """Tell whether all records there are have come to this node.

        Among up to K nodes each is sent all records, and after an interval in which no connection broke each
        has got them. What has not come by then all the same is still found by asking, since then nothing is
        known of it here.
        """
        return len(self.table) < K and self._loop.time() - self._undisturbed_since > _SETTLED_AFTER

    def _completed(self, peer: PeerInfo) -> PeerInfo:
        """Add the addresses that an answer lacks, when they are known."""
        if peer.addresses:
            return peer
        return self.table.get(peer.id) or self.store.provider(peer.id, self._loop.time()) or peer

    def _joined(self, peer: PeerInfo) -> None:
        size = len(self.table)
        if not self._providing.gate.is_set():
            if size == 1:
                self._undisturbed_since = self._loop.time()
            self._upkeep.want_refresh()
        elif size < K:
            self._away.pop(peer.id.raw, None)
            self._providing.greet(peer)
        elif self._told_to is not None and size >= _GROWTH * self._told_to:
            self._provide_all()
        else:
            self._welcome_back(peer)

    def _welcome_back(self, peer: PeerInfo) -> None:
        if peer.id.raw in self._away:
            del self._away[peer.id.raw]
            self._providing.greet(peer)

    def _left(self) -> None:
        size = len(self.table)
        if self._told_to is not None:
            self._told_to = min(self._told_to, size)
        if size == 0:
            self._providing.gate.clear()

    def _refreshed(self) -> None:
        if self.connected and not self._providing.gate.is_set():
            self._providing.gate.set()
            self._provide_all()

    def _provide_all(self) -> None:
        if self._told_to is not None:  # else all keys are new, and so due
            self._providing.renew()
        self._told_to = len(self.table)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_INTERVAL)
            self.store.expire(self._loop.time())
