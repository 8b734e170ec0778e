"""A simulated cluster: nodes that join, leave and are cut off, and what they find."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left
from dataclasses import dataclass
from random import Random

from benchmarks.simulated.network import Conditions, Port, Switchboard, peer_info
from daemon.kademlia.key import BITS, position
from daemon.kademlia.lookup import Lookup
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.node import Node
from daemon.kademlia.parameters import K

BOOTSTRAP_PEERS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """How a search for providers went."""

    providers: int
    first: float
    """Seconds until the first was found, or until the search ended without one."""
    requests: int


@dataclass(frozen=True, slots=True)
class Walk:
    """How a search for the nodes nearest to a key went."""

    nearest: set[bytes]
    hops: int
    requests: int
    seconds: float


class Cluster:
    """Nodes on one network, in virtual time."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.switchboard = Switchboard(self.random, self.conditions)
        self.ports: list[Port] = []
        """Of the nodes that are on."""
        self._running: dict[Port, asyncio.Task[None]] = {}
        self._made = 0
        self._tasks: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Cluster:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._tasks is not None
        for task in self._running.values():
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def make(self) -> Port:
        """Switch a new node on. It knows nobody and does nothing yet but answer."""
        port = Port(self.switchboard, peer_info(self._made, self.random))
        self._made += 1
        port.node = Node(port.info.id, port, Random(self.random.random()))
        self.switchboard.ports[port.info.id.raw] = port
        self.ports.append(port)
        return port

    def run(self, port: Port) -> None:
        """Let a node take part."""
        assert self._tasks is not None
        self._running[port] = self._tasks.create_task(node_of(port).run())

    def join(self) -> Port:
        """Switch a new node on that takes part; as by a bootstrapper it is told of a few others."""
        others = self.random.sample(self.ports, min(BOOTSTRAP_PEERS, len(self.ports)))
        port = self.make()
        self.run(port)
        for other in others:
            node_of(port).found(other.info)
        return port

    def leave(self, port: Port) -> None:
        """Switch a node off, without a word to anybody."""
        self.ports.remove(port)
        port.node = None
        task = self._running.pop(port, None)
        if task is not None:
            task.cancel()

    def connect_all(self) -> None:
        """Fill all tables as joining and refreshing do: each bucket with random ones of those that fit."""
        ports = sorted(self.ports, key=lambda port: position(port.info.id.raw))
        positions = [position(port.info.id.raw) for port in ports]
        for port in ports:
            search = node_of(port).search
            for depth in range(len(ports).bit_length() + 8):
                shift = BITS - depth - 1
                beside = search.table.position >> shift ^ 1
                first = bisect_left(positions, beside << shift)
                last = bisect_left(positions, beside + 1 << shift)
                for index in self.random.sample(range(first, last), min(K, last - first)):
                    search.answered(ports[index].info)

    def nearest(self, key: bytes, without: Port | None = None) -> set[bytes]:
        """Return the IDs of the K nodes that are nearest to a key."""
        target = position(key)
        ids = (port.info.id.raw for port in self.ports if port is not without)
        return set(heapq.nsmallest(K, ids, key=lambda raw: position(raw) ^ target))


def node_of(port: Port) -> Node:
    """Return the node of a port that is on."""
    assert port.node is not None
    return port.node


async def find(port: Port, key: bytes, count: int = 3) -> Found:
    """Search for providers from a node that does nothing else."""
    loop = asyncio.get_running_loop()
    start, before = loop.time(), port.traffic.requests
    times: list[float] = []
    await node_of(port).find_providers(key, count, lambda _: times.append(loop.time() - start))
    return Found(len(times), times[0] if times else loop.time() - start, port.traffic.requests - before)


async def walk(port: Port, key: bytes) -> Walk:
    """Look for the nodes nearest to a key from a node that does nothing else."""
    loop = asyncio.get_running_loop()
    node, target = node_of(port), position(key)
    start, before = loop.time(), port.traffic.requests
    lookup = Lookup(target, node.table.nearest(target), port.info.id)
    await node.search.look_up(lookup, Message(MessageType.FIND_NODE, key))
    nearest = {peer.id.raw for peer in lookup.nearest()}
    return Walk(nearest, lookup.hops, port.traffic.requests - before, loop.time() - start)
