"""Requests and lookups over a network. How they end keeps the routing table true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.kademlia.key import position
from daemon.kademlia.lookup import Lookup
from daemon.kademlia.lost import LostPeers
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.network import Network, NetworkError
from daemon.kademlia.parameters import ALPHA
from daemon.kademlia.table import Table
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

_HEAD_START = 0.005
"""Seconds that those asked first have to answer before more are asked."""
_PATIENCE = 3.0
"""Seconds after which a lookup goes on without a peer; what it answers later is still taken.

In a cluster that starts all at once on busy machines answers take seconds.
"""


class Search:
    """Asks peers, as long as ``run`` does.

    A lookup that ends early leaves requests behind. They are let finish, since their answers tell who lives
    and since their streams can be used again; ``run`` is their owner.
    """

    def __init__(
        self,
        network: Network,
        table: Table,
        joined: Callable[[PeerInfo], None],
        left: Callable[[], None],
    ) -> None:
        """``joined`` is called when a peer has come into the table, ``left`` when one has left it."""
        self.table = table
        self.lost = LostPeers()
        self._network = network
        self._joined = joined
        self._left = left
        self._requests: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Own the requests of lookups until cancelled."""
        async with asyncio.TaskGroup() as requests:
            self._requests = requests
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._requests = None

    async def ask(self, peer: PeerInfo, request: Message) -> Message | None:
        """Return a peer's answer; None when there is none."""
        # What others say of a peer's addresses is not put above what has proven true.
        peer = self.table.get(peer.id) or peer
        try:
            answer = await self._network.request(peer, request)
        except NetworkError:
            self.failed(peer)
            return None
        self.answered(peer)
        return answer

    def answered(self, peer: PeerInfo) -> None:
        """Note that a peer has answered."""
        before = len(self.table)
        self.table.add(peer, asyncio.get_running_loop().time())
        self.lost.answered(peer.id)
        if len(self.table) != before:
            self._joined(peer)

    def failed(self, peer: PeerInfo) -> None:
        """Note that a peer has not answered."""
        known = self.table.remove(peer.id)
        if known is not None:
            self.lost.add(known, asyncio.get_running_loop().time())
            self._left()

    async def closest(self, key: bytes) -> list[PeerInfo]:
        """Look for the K peers nearest to a key; return them, the nearest first."""
        target = position(key)
        lookup = Lookup(target, self.table.nearest(target), self.table.local)
        await self.look_up(lookup, Message(MessageType.FIND_NODE, key))
        return lookup.nearest()

    def look_up(
        self, lookup: Lookup, request: Message, heard: Callable[[Message], None] | None = None
    ) -> asyncio.Future[None]:
        """Begin a lookup, telling every answer to ``heard`` as it comes; return what is done when it is over.

        A future and no task, since clients wait for it; cancelling it ends the lookup.
        """
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        over.add_done_callback(lambda _: lookup.stop())

        def proceed(at_once: int = ALPHA) -> None:
            if self._requests is None:
                lookup.stop()
            else:
                for peer in lookup.to_ask(at_once):
                    self._requests.create_task(ask(peer))
            if lookup.done and not over.done():
                over.set_result(None)

        def pass_over(peer: PeerId) -> None:
            lookup.failed(peer)
            proceed()

        async def ask(peer: PeerInfo) -> None:
            answer = None
            late = loop.call_later(_PATIENCE, pass_over, peer.id)
            try:
                answer = await self.ask(peer, request)
            finally:
                late.cancel()
                if answer is None:
                    lookup.failed(peer.id)
                elif not lookup.done:
                    lookup.answered(peer.id, answer.closer)
                    if heard is not None:
                        heard(answer)
                proceed()

        proceed(lookup.at_first)
        hurry = loop.call_later(_HEAD_START, proceed)
        over.add_done_callback(lambda _: hurry.cancel())
        return over
