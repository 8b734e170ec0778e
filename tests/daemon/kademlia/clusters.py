"""Simulated networks, and what their nodes know."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from random import Random

from benchmarks.simulated.cluster import Cluster, node_of
from benchmarks.simulated.network import Port
from daemon.kademlia.key import content_key
from daemon.kademlia.node import Node
from daemon.libp2p.peer_info import PeerInfo

KEY = content_key("sha256:" + "a" * 64)
KEYS = [content_key(f"{number}") for number in range(60)]
SETTLED = 20 * 60


async def grown(cluster: Cluster, count: int) -> list[Port]:
    """Let nodes join one after the other."""
    ports = []
    for _ in range(count):
        ports.append(cluster.join())
        await asyncio.sleep(0.2)
    await asyncio.sleep(40)
    return ports


async def found(port: Port, key: bytes, count: int = 3) -> list[PeerInfo]:
    providers: list[PeerInfo] = []
    await node_of(port).find_providers(key, count, providers.append)
    return providers


def holders(ports: Iterable[Port], key: bytes) -> list[Port]:
    now = asyncio.get_running_loop().time()
    return [port for port in ports if port.node and port.node.store.get(key, now)]


def restart(cluster: Cluster, port: Port) -> None:
    """Start a node anew, which remembers nothing: the others see no more of it than connections that end."""
    cluster.leave(port)
    disconnect(cluster, port)
    port.node = Node(port.info.id, port, Random(1))
    cluster.ports.append(port)
    cluster.run(port)
    for other in cluster.ports[:3]:
        node_of(port).found(other.info)


def disconnect(cluster: Cluster, port: Port) -> None:
    """End all connections of a node."""
    for other in cluster.ports:
        if other.info.id.raw in port.connected:
            other.connected.discard(port.info.id.raw)
            port.connected.discard(other.info.id.raw)
            for one, another in ((port, other), (other, port)):
                if one.node is not None:
                    one.node.disconnected(another.info.id)
