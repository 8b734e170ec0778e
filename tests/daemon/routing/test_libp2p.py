"""The libp2p router: several of them on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from daemon.kademlia.key import content_key
from daemon.kademlia.message import MAX_REQUEST, Message, MessageType
from daemon.kademlia.network import NetworkError
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p import varint
from daemon.libp2p.host import Stream
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from daemon.metrics import Metrics
from daemon.routing.base import Router
from daemon.routing.dht_network import DhtNetwork
from tests.daemon.libp2p.host.hosts import make_host
from tests.daemon.routing import loopback
from tests.daemon.routing.conformance import DIGEST, RouterConformance, find
from tests.daemon.routing.loopback import network


class TestLibp2pRouter(RouterConformance):
    def network(self, count: int) -> AbstractAsyncContextManager[Sequence[Router]]:
        return network(count)


async def test_found_peers_are_timed_once_per_query() -> None:
    metrics = Metrics("test")

    def count() -> float | None:
        name = "spegel_resolve_duration_seconds_count"
        return metrics.registry.get_sample_value(name, {"router": "libp2p"})

    async with network(3, metrics) as (one, two, three):
        assert await find(one, DIGEST) == []
        assert count() is None
        await two.advertise([DIGEST])
        await three.advertise([DIGEST])
        assert len(await find(one, DIGEST, 2)) == 2
        assert count() == 1
        await find(one, DIGEST, 2)
        assert count() == 1, "it was remembered"


async def test_a_record_for_somebody_else_is_refused() -> None:
    async with network(2) as (one, two):
        victim = PeerInfo(PrivateKey.generate().peer_id, two.info().addresses)
        forged = Message(MessageType.ADD_PROVIDER, content_key(DIGEST), (), (victim,))
        with pytest.raises(NetworkError, match="reset by the peer"):
            await DhtNetwork(two._host).send(one.info(), [forged])
        assert await find(one, DIGEST) == []
        honest = Message(MessageType.ADD_PROVIDER, content_key(DIGEST), (), (two.info(), victim))
        await DhtNetwork(two._host).send(one.info(), [honest])
        assert [peer.id for peer in await find(one, DIGEST)] == [str(two.info().id)]


def elsewhere(version: int) -> list[IPv4Address]:
    """Announce an address that is not this machine's: as a node does that is on a network."""
    return [IPv4Address("192.0.2.1")] if version == 4 else []


async def test_loopback_and_link_local_are_nobody_elses_addresses() -> None:
    """A hostile peer must not be able to send a node to itself, or to what only it can reach."""
    named = ("/ip6/::1", "/ip6/::ffff:127.0.0.9", "/ip4/0.0.0.0", "/ip4/127.0.0.9", "/ip4/169.254.169.254")
    named += ("/ip4/192.0.2.1", "/dns4/localhost", "/ip4/203.0.113.7")

    source = loopback.Others()
    hostile = loopback.make_router(source)
    node = loopback.make_router(source, own=elsewhere)
    async with loopback.running(hostile, node):
        await loopback.until_known(node, 1)
        addresses = tuple(Multiaddr.parse(f"{host}/tcp/5001") for host in named)
        record = PeerInfo(hostile.info().id, addresses)
        message = Message(MessageType.ADD_PROVIDER, content_key(DIGEST), (), (record,))
        await DhtNetwork(hostile._host).send(replace(node.info(), addresses=()), [message])
        (found,) = await find(node, DIGEST)
        assert [str(ip) for ip in found.addresses] == ["127.0.0.1", "203.0.113.7"], (
            "it is connected from there"
        )
        answer = await DhtNetwork(hostile._host).request(
            replace(node.info(), addresses=()), Message(MessageType.GET_PROVIDERS, content_key(DIGEST))
        )
        (told,) = answer.providers
        assert [str(address) for address in told.addresses] == ["/ip4/203.0.113.7/tcp/5001"], "told on"


async def test_nodes_that_all_have_the_address_of_one_nat_card_find_each_other() -> None:
    """Virtual machines have such a card, and the route that decides what they announce leads through it."""
    source = loopback.Others()
    other = loopback.make_router(source)
    node = loopback.make_router(source, own=elsewhere)
    async with loopback.running(other, node):
        await loopback.until_known(node, 1)
        record = PeerInfo(other.info().id, node.info().addresses)
        message = Message(MessageType.ADD_PROVIDER, content_key(DIGEST), (), (record,))
        await DhtNetwork(other._host).send(replace(node.info(), addresses=()), [message])
        (found,) = await find(node, DIGEST)
        assert [str(ip) for ip in found.addresses] == ["127.0.0.1"], "not this node's own"


@pytest.mark.parametrize("on_one_machine", [False, True])
async def test_what_others_name_on_this_machine_is_not_dialled(on_one_machine: bool) -> None:
    """In answers and in what they say of themselves; unless all nodes are on one machine, as in this test."""
    visited = asyncio.Event()

    async def visit(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.set()
        writer.close()

    bystander = await asyncio.start_server(visit, "127.0.0.1", 0)
    there = Multiaddr.tcp(IPv4Address("127.0.0.1"), bystander.sockets[0].getsockname()[1])

    async def lie(stream: Stream) -> None:
        while (data := await stream.read_delimited(MAX_REQUEST)) is not None:
            request = Message.decode(data)
            made_up = PeerInfo(PrivateKey.generate().peer_id, (there,))
            answer = Message(request.type, request.key)
            if request.type is not MessageType.PING:
                answer = replace(answer, closer=(made_up,), providers=(made_up,))
            await stream.write(varint.delimit(answer.encode()))

    node = loopback.make_router(
        loopback.Others(), own=loopback.own_addresses if on_one_machine else elsewhere
    )
    async with bystander, make_host() as liar, loopback.running(node):
        liar.handle(PROTOCOL, lie)
        liar._introductions.addresses += (there,)
        port = node.info().addresses[0].tcp_port
        await liar.connect(PeerInfo(node.info().id, (Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{port}"),)))
        await loopback.until_known(node, 1)
        found = await find(node, DIGEST, 3)
        assert [address for peer in found for address in peer.addresses] == (
            [IPv4Address("127.0.0.1")] if on_one_machine else []
        )
        await node._node.closest(content_key(DIGEST))
        assert (there in node._host.known_addresses(liar.peer_id)) is on_one_machine
        assert visited.is_set() is on_one_machine


async def test_a_node_that_comes_back_finds_the_others_and_is_found() -> None:
    source = loopback.Others()
    first, second = (loopback.make_router(source) for _ in range(2))
    async with loopback.running(first):
        async with loopback.running(second):
            await loopback.until_known(first, 1)
        third = loopback.make_router(source)
        async with loopback.running(third):
            await loopback.until_known(third, 1)
            await third.advertise([DIGEST])
            async with asyncio.timeout(loopback.PATIENCE):
                while [peer.id for peer in await find(first, DIGEST)] != [str(third.info().id)]:
                    await asyncio.sleep(0.01)
            await loopback.until_known(first, 1)
            assert await first.ready()


async def test_a_node_that_is_started_anew_with_its_identity_is_told_what_others_have() -> None:
    source, identity = loopback.Others(), PrivateKey.generate()
    first = loopback.make_router(source)
    async with loopback.running(first):
        await first.advertise([DIGEST])
        for _ in range(2):
            second = loopback.make_router(source, identity=identity)
            async with loopback.running(second), asyncio.timeout(loopback.PATIENCE):
                while not second._known(DIGEST, 1):
                    await asyncio.sleep(0.01)


async def test_addresses_of_a_peer_begin_with_the_one_it_was_met_at() -> None:
    async with network(2) as (one, two):

        def addresses(*announced: str) -> list[str]:
            info = replace(two.info(), addresses=tuple(map(Multiaddr.parse, announced)))
            return [str(address) for address in one._peer(info).addresses]

        assert addresses("/ip4/10.9.9.9/tcp/5001", "/ip4/127.0.0.1/tcp/1") == ["127.0.0.1", "10.9.9.9"]
        assert addresses("/dns4/x/tcp/1") == ["127.0.0.1"]
