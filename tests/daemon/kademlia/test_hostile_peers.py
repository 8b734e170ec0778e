"""Peers that name others that do not exist, or where they are not, or never answer."""

from __future__ import annotations

import asyncio

from benchmarks.simulated.clock import virtual
from benchmarks.simulated.cluster import Cluster, node_of
from benchmarks.simulated.network import Port
from daemon.kademlia.key import position
from daemon.kademlia.lookup import MAX_UNPROVEN
from daemon.kademlia.message import Message, MessageType
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.clusters import KEY, found, grown
from tests.daemon.kademlia.peers import many


@virtual
async def test_false_addresses_told_by_others_do_not_replace_true_ones():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 5)
        false = PeerInfo(ports[1].info.id, ports[2].info.addresses)
        search = node_of(ports[0]).search
        search._network = watched = Watched(ports[0])
        await search.ask(false, Message(MessageType.PING))
        assert watched.asked == [ports[1].info]


class Watched:
    """A node's end of the network that remembers who was asked."""

    def __init__(self, port: Port) -> None:
        self.addresses, self.send = port.addresses, port.send
        self.asked: list[PeerInfo] = []
        self._port = port

    async def request(self, peer: PeerInfo, message: Message) -> Message:
        self.asked.append(peer)
        return await self._port.request(peer, message)


@virtual
async def test_a_thousand_made_up_peers_delay_nobody_and_are_hardly_asked():
    """They are nearer to the key than any node, and nothing answers at their addresses."""
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 40)
        liar, provider = (cluster.switchboard.ports[raw] for raw in sorted(cluster.nearest(KEY))[:2])
        node_of(provider).provide([KEY])
        await asyncio.sleep(1)
        made_up = many(1000)
        tell = node_of(liar).answer

        def lie(sender: PeerId, address: str, request: Message) -> Message | None:
            if request.type is MessageType.PING:
                return tell(sender, address, request)
            target = position(request.key)
            nearest = sorted(made_up, key=lambda info: position(info.id.raw) ^ target)
            return Message(request.type, request.key, closer=tuple(nearest))

        node_of(liar).answer = lie  # type: ignore[method-assign]
        loop = asyncio.get_running_loop()
        told = 0
        for port in (port for port in ports if port not in (liar, provider)):
            watched = node_of(port).search._network = Watched(port)
            started = loop.time()
            waits: list[float] = []
            await node_of(port).find_providers(
                KEY, 3, lambda _, waits=waits, started=started: waits.append(loop.time() - started)
            )
            assert len(waits) == 1
            assert waits[0] < 0.02
            assert loop.time() - started < 3.1
            told += liar.info in watched.asked
            assert sum(info in made_up for info in watched.asked) <= MAX_UNPROVEN
        assert told > 10


@virtual
async def test_a_peer_that_stalls_does_not_hold_up_a_search():
    async with Cluster(1) as cluster:
        ports = await grown(cluster, 10)
        for port in ports[1:4]:
            port.side = 1
        started = asyncio.get_running_loop().time()
        assert await found(ports[0], KEY) == []
        assert asyncio.get_running_loop().time() - started < 3.1
