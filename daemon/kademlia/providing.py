"""Tells the network what this node provides, as the schedule has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.network import Network, NetworkError
from daemon.kademlia.parameters import K
from daemon.kademlia.provide import SLICE_BITS, Schedule
from daemon.kademlia.region import Region, allocate
from daemon.kademlia.search import Search
from daemon.libp2p.peer_info import PeerInfo

WORKERS = 4
"""Regions provided at once, and so the most batches that one peer is sent at once."""
SENDING = 16
"""Peers that are sent something at once."""
BATCH = 256
"""Keys sent in one go: what that takes to prepare does not keep others waiting."""

REGION_VALIDITY = 5 * 60.0
"""Seconds for which the peers of a part of the key space are not looked for again."""

_FEW = 3  # keys up to which each is looked up for itself, which takes less than to explore a region


@dataclass(frozen=True, slots=True)
class _Explored:
    """A region whose keys have several turns."""

    region: Region
    until: float
    known: int
    """Peers in the table when the region was explored."""


class Providing:
    """Provides what is due while the gate is open."""

    def __init__(self, schedule: Schedule, search: Search, network: Network, random: Random) -> None:
        self._schedule = schedule
        self._search = search
        self._network = network
        self._random = random
        self._sending = asyncio.Semaphore(SENDING)
        self._changed = asyncio.Event()
        self._explored: list[_Explored] = []
        self.gate = asyncio.Event()
        """Set while the node knows the network well enough."""

    def add(self, keys: Iterable[bytes]) -> None:
        """Provide keys from now on."""
        self._schedule.add(keys)
        self._changed.set()

    def renew(self) -> None:
        """Provide everything again soon."""
        self._explored.clear()
        self._schedule.renew(asyncio.get_running_loop().time())
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.gate.wait()
            key = self._schedule.take(loop.time())
            if key is not None:
                await self._provide(key)
                continue
            self._changed.clear()
            try:
                async with asyncio.timeout_at(self._schedule.wake_at()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _provide(self, key: bytes) -> None:
        region = self._kept(key)
        if region is not None:
            keys = self._schedule.claim(region.prefix, region.length)
            await self._send([key, *keys], region.peers)
            return
        known = len(self._search.table)
        nearest = await self._search.closest(key)
        region = Region(key, nearest, self._random)
        keys = [key, *self._schedule.claim(region.prefix, region.length)]
        wide = region.length < SLICE_BITS
        if len(keys) <= _FEW and not wide:
            await self._send(keys[:1], region.peers)
            for other in keys[1:]:
                nearest = await self._search.closest(other)
                await self._send([other], {peer.id.raw: peer for peer in nearest})
            return
        while (target := region.next_target()) is not None:
            region.explored(target, await self._search.closest(target))
        if wide:
            until = asyncio.get_running_loop().time() + REGION_VALIDITY
            self._explored.append(_Explored(region, until, known))
        await self._send(keys, region.peers)

    def _kept(self, key: bytes) -> Region | None:
        """Return the region of a key that was explored lately, when no fewer peers were known than now."""
        now, known = asyncio.get_running_loop().time(), len(self._search.table)
        self._explored = [
            one for one in self._explored if one.until > now and one.known >= known and one.region.peers
        ]
        return next((one.region for one in self._explored if key in one.region), None)

    async def _send(self, keys: list[bytes], peers: dict[bytes, PeerInfo]) -> None:
        """Send keys to the nearest of some peers. Those that fail are taken out, and not tried twice."""
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            enough = max(1, min(K, len(peers)) // 2)
            reached = await self._send_batch(batch, peers)
            missed = [key for key in batch if reached[key] < enough]
            if missed:
                self._schedule.failed(missed, asyncio.get_running_loop().time())
                self._changed.set()

    async def _send_batch(self, keys: list[bytes], peers: dict[bytes, PeerInfo]) -> Counter[bytes]:
        """Send keys; return how many peers each has reached."""
        reached: Counter[bytes] = Counter()
        own = PeerInfo(self._search.table.local, tuple(self._network.addresses()))
        if not own.addresses:
            return reached

        async def send(peer: PeerInfo, assigned: list[bytes]) -> None:
            messages = [Message(MessageType.ADD_PROVIDER, key, providers=(own,)) for key in assigned]
            try:
                async with self._sending:
                    await self._network.send(peer, messages)
            except NetworkError:
                self._search.failed(peer)
                peers.pop(peer.id.raw, None)
            else:
                reached.update(assigned)

        async with asyncio.TaskGroup() as tasks:
            for raw, assigned in allocate(keys, peers.values()).items():
                tasks.create_task(send(peers[raw], assigned))
        return reached
