"""Keeps the routing table filled and true: newcomers, lost peers, silent peers, refreshes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from random import Random

from daemon.kademlia.key import BITS, key_under
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import REFRESH_INTERVAL
from daemon.kademlia.search import Search
from daemon.libp2p.peer_info import PeerInfo

MAX_NEWCOMERS = 256
"""Peers that wait to be asked whether they answer; more are left to be met in lookups."""

_AT_ONCE = 8  # peers asked
_MEETING_DELAY = 0.2  # seconds after which who connects because it is being asked has answered
_LOST_TICK = 5.0  # seconds between looks at who is lost
_FIRST_GAP = 1.0  # seconds between the first two refreshes, the second of which is always wanted
_REFRESH_GAP = 30.0  # seconds up to which the gap grows, however often one is wanted

_PING = Message(MessageType.PING)


class Upkeep:
    """Fills the table of a search and keeps it."""

    def __init__(self, search: Search, random: Random, refreshed: Callable[[], None]) -> None:
        """``refreshed`` is called after every refresh."""
        self._search = search
        self._table = search.table
        self._random = random
        self._refreshed = refreshed
        self._newcomers: dict[bytes, PeerInfo] = {}
        self._came = asyncio.Event()
        self._wanted = asyncio.Event()

    def found(self, peer: PeerInfo) -> None:
        """Take note of a peer that is said to be one of the network; whether it answers is found out."""
        if self._table.get(peer.id):
            self._search.answered(peer)  # it may have new addresses
        elif peer.id != self._table.local and len(self._newcomers) < MAX_NEWCOMERS:
            self._newcomers[peer.id.raw] = peer
            self._came.set()

    def want_refresh(self) -> None:
        """Have the table refreshed soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meet_newcomers())
            tasks.create_task(self._seek_lost())
            tasks.create_task(self._keep_fresh())

    async def _meet_newcomers(self) -> None:
        while True:
            await self._came.wait()
            if self._table:
                await asyncio.sleep(_MEETING_DELAY)
            self._came.clear()
            newcomers, self._newcomers = self._newcomers, {}
            await _for_each(newcomers.values(), self._meet)

    async def _meet(self, peer: PeerInfo) -> None:
        if self._table.get(peer.id):
            return
        silent_since = asyncio.get_running_loop().time() - REFRESH_INTERVAL
        in_the_way = self._table.in_the_way_of(peer.id, silent_since)
        if in_the_way is not None:
            await self._search.ask(in_the_way, _PING)
        if self._table.has_room_for(peer.id):
            await self._search.ask(peer, _PING)

    async def _seek_lost(self) -> None:
        while True:
            await asyncio.sleep(_LOST_TICK)
            await _for_each(self._search.lost.due(asyncio.get_running_loop().time()), self._seek)

    async def _seek(self, peer: PeerInfo) -> None:
        if await self._search.ask(peer, _PING) and self._table.get(peer.id):
            self.want_refresh()  # it may be back with all that are behind it

    async def _keep_fresh(self) -> None:
        gap = _FIRST_GAP
        while True:
            # Nodes that were started together do not stay in step.
            interval = REFRESH_INTERVAL * self._random.uniform(0.9, 1.1)
            try:
                async with asyncio.timeout(interval):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self._refresh()
            self._refreshed()
            await asyncio.sleep(gap)
            gap = min(2 * gap, _REFRESH_GAP)

    async def _refresh(self) -> None:
        silent = self._table.silent(asyncio.get_running_loop().time() - REFRESH_INTERVAL)
        await _for_each(silent, lambda peer: self._search.ask(peer, _PING))
        await self._search.closest(self._table.local.raw)
        for depth in self._table.depths():
            beside = self._table.position >> BITS - depth - 1 ^ 1
            await self._search.closest(key_under(beside, depth + 1, self._random))


async def _for_each(peers: Collection[PeerInfo], do: Callable[[PeerInfo], Awaitable[object]]) -> None:
    """Do something with all peers, with a few of them at once."""
    remaining = iter(peers)

    async def work() -> None:
        for peer in remaining:
            await do(peer)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(_AT_ONCE, len(peers))):
            tasks.create_task(work())
