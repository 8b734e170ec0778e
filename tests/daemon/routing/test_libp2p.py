"""The libp2p router: several of them on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from daemon.kademlia.key import content_key
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.network import NetworkError
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from daemon.metrics import Metrics
from daemon.routing.base import Router
from daemon.routing.dht_network import DhtNetwork
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


async def test_loopback_and_link_local_are_nobody_elses_addresses() -> None:
    """A hostile peer must not be able to send a node to itself, or to what only it can reach."""
    named = ("/ip6/::1", "/ip6/::ffff:127.0.0.9", "/ip4/0.0.0.0", "/ip4/127.0.0.9", "/ip4/169.254.169.254")
    named += ("/ip4/203.0.113.7",)

    source = loopback.Others()
    hostile = loopback.make_router(source)
    node = loopback.make_router(
        source, own=lambda version: [IPv4Address("192.0.2.1")] if version == 4 else []
    )
    async with loopback.running(hostile, node):
        await loopback.until_known(node, 1)
        addresses = tuple(Multiaddr.parse(f"{ip}/tcp/5001") for ip in named)
        record = PeerInfo(hostile.info().id, addresses)
        message = Message(MessageType.ADD_PROVIDER, content_key(DIGEST), (), (record,))
        await DhtNetwork(hostile._host).send(replace(node.info(), addresses=()), [message])
        (found,) = await find(node, DIGEST)
        assert [str(ip) for ip in found.addresses] == ["127.0.0.1", "203.0.113.7"], (
            "it is connected from there"
        )


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


async def test_addresses_of_a_peer_begin_with_the_one_it_was_met_at() -> None:
    async with network(2) as (one, two):

        def addresses(*announced: str) -> list[str]:
            info = replace(two.info(), addresses=tuple(map(Multiaddr.parse, announced)))
            return [str(address) for address in one._peer(info).addresses]

        assert addresses("/ip4/10.9.9.9/tcp/5001", "/ip4/127.0.0.1/tcp/1") == ["127.0.0.1", "10.9.9.9"]
        assert addresses("/ip4/0.0.0.0/tcp/1", "/dns4/x/tcp/1") == ["127.0.0.1"]
