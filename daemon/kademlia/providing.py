"""Tells the network what this node provides, as the schedule has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from random import Random

from daemon.kademlia.explored import ExploredRegions
from daemon.kademlia.key import common_prefix, position
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

_FEW = 3  # keys up to which each is looked up for itself, which takes less than to explore a region


class Providing:
    """Provides what is due while the gate is open."""

    def __init__(self, schedule: Schedule, search: Search, network: Network, random: Random) -> None:
        self._schedule = schedule
        self._search = search
        self._network = network
        self._random = random
        self._sending = asyncio.Semaphore(SENDING)
        self._changed = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._explored = ExploredRegions()
        self._greeted: set[bytes] = set()  # who is being told what it may have to know
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

    def greet(self, peer: PeerInfo) -> None:
        """Tell a peer that has come, or come back, of the keys that it is among the nearest to.

        Who comes and goes while it is being told is not told twice at a time.
        """
        if self._tasks is not None and peer.id.raw not in self._greeted:
            self._greeted.add(peer.id.raw)
            self._tasks.create_task(self._greet(peer))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(WORKERS):
                        workers.create_task(self._work())
            finally:
                self._tasks = None
                self._greeted.clear()

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
        loop, known = asyncio.get_running_loop(), len(self._search.table)
        region = self._explored.find(key, known, loop.time())
        if region is not None:
            keys = self._schedule.claim(region.prefix, region.length)
            await self._send([key, *keys], region.peers)
            return
        nearest = await self._search.closest(key)
        region = Region(key, nearest, len(self._search.table), self._random)
        keys = [key, *self._schedule.claim(region.prefix, region.length)]
        has_several_turns = region.length < SLICE_BITS
        if len(keys) <= _FEW and not has_several_turns:
            await self._send(keys[:1], region.peers)
            for other in keys[1:]:
                nearest = await self._search.closest(other)
                await self._send([other], {peer.id.raw: peer for peer in nearest})
            return
        while (target := region.next_target()) is not None:
            region.explored(target, await self._search.closest(target))
        if has_several_turns:
            self._explored.add(region, known, loop.time())
        await self._send(keys, region.peers)

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
        own = self._own_record()
        if own is None:
            return reached

        async def send(peer: PeerInfo, assigned: list[bytes]) -> None:
            if await self._tell(peer, assigned, own):
                reached.update(assigned)
            else:
                peers.pop(peer.id.raw, None)

        async with asyncio.TaskGroup() as tasks:
            for raw, assigned in allocate(keys, peers.values()).items():
                tasks.create_task(send(peers[raw], assigned))
        return reached

    async def _greet(self, peer: PeerInfo) -> None:
        own = self._own_record()
        where, shared = position(peer.id.raw), self._shared_with_nearest()
        keys = [key for key in self._schedule if common_prefix(position(key), where) >= shared]
        try:
            for start in range(0, len(keys), BATCH):
                if own is None or not await self._tell(peer, keys[start : start + BATCH], own):
                    return
        finally:
            self._greeted.discard(peer.id.raw)

    def _shared_with_nearest(self) -> int:
        """Return how many leading bits a key and its K nearest share, as it is around this node itself.

        None among up to K others: each is among the nearest to every key.
        """
        table = self._search.table
        nearest = table.nearest(table.position)
        return common_prefix(table.position, position(nearest[-1].id.raw)) if len(nearest) == K else 0

    async def _tell(self, peer: PeerInfo, keys: Iterable[bytes], own: PeerInfo) -> bool:
        messages = [Message(MessageType.ADD_PROVIDER, key, providers=(own,)) for key in keys]
        try:
            async with self._sending:
                await self._network.send(peer, messages)
        except NetworkError:
            self._search.failed(peer)
            return False
        return True

    def _own_record(self) -> PeerInfo | None:
        """Return what records say of this node; None while it has no address."""
        own = PeerInfo(self._search.table.local, tuple(self._network.addresses()))
        return own if own.addresses else None
