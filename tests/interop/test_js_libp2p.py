"""This router and js-libp2p nodes in one network, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daemon.bootstrap.base import Candidate
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p import identify, ping
from daemon.libp2p.host import Host
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from daemon.routing.libp2p import Libp2pRouter
from tests.daemon.routing import loopback
from tests.daemon.routing.conformance import DIGEST, TAG, find
from tests.interop.js_nodes import JsNode, JsNodes, js_nodes


@pytest.fixture
async def js() -> AsyncIterator[JsNodes]:
    async with js_nodes() as nodes:
        yield nodes


def info(node: JsNode) -> PeerInfo:
    addresses = (Multiaddr.parse(text).without_peer_id() for text in node.addresses)
    return PeerInfo(PeerId.parse(node.id), tuple(filter(None, addresses)))


def address(router: Libp2pRouter) -> str:
    return router.addresses()[0]


class Met:
    """Waits for what peers say of themselves."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[PeerInfo, tuple[str, ...]]] = asyncio.Queue()

    def identified(self, peer: PeerInfo, protocols: tuple[str, ...]) -> None:
        self.said.put_nowait((peer, tuple(protocols)))

    def gone(self, peer: PeerId) -> None:
        pass


def host(met: Met) -> Host:
    return Host(
        PrivateKey.generate(),
        met,
        [loopback.listener()],
        agent="spegel/test",
        own_addresses=loopback.own_addresses,
    )


async def test_dial_it_identify_it_and_ping_it(js: JsNodes) -> None:
    node, met = await js.start("one"), Met()
    async with host(met) as here, asyncio.timeout(20):
        await here.connect(info(node))
        peer, protocols = await met.said.get()
        assert peer == info(node)
        assert {PROTOCOL, identify.PROTOCOL, ping.PROTOCOL} <= {*protocols}
        assert await here.ping(info(node)) > 0
        (connection,) = await node.call("connections")
        assert connection["peer"] == str(here.peer_id)
        assert connection["direction"] == "inbound"
        assert (connection["encryption"], connection["multiplexer"]) == ("/noise", "/yamux/1.0.0")


async def test_be_dialled_identified_and_pinged(js: JsNodes) -> None:
    node, met = await js.start("one"), Met()
    async with host(met) as here, asyncio.timeout(20):
        target = str(here.addresses()[0].with_peer_id(here.peer_id))
        assert await node.call("dial", target) == str(here.peer_id)
        assert await node.call("ping", target) >= 0
        peer, _ = await met.said.get()
        assert peer == info(node)
        while not (said := await node.call("identified", str(here.peer_id)))["protocols"]:
            await asyncio.sleep(0.05)
        assert said["agent"] == "spegel/test"
        assert said["addresses"] == [str(one) for one in here.addresses()]
        assert {identify.PROTOCOL, ping.PROTOCOL} <= {*said["protocols"]}


async def test_another_identity_than_the_expected_is_refused(js: JsNodes) -> None:
    node, met = await js.start("one"), Met()
    async with host(met) as here:
        wrong = PrivateKey.generate().peer_id
        with pytest.raises(AssertionError, match=r"(?i)payload|identity|peer"):
            await node.call("dial", str(here.addresses()[0].with_peer_id(wrong)))


@pytest.mark.parametrize("who_dials", ["js", "here"])
async def test_what_either_provides_the_other_finds(js: JsNodes, who_dials: str) -> None:
    node = await js.start("one")
    source = loopback.Others()
    if who_dials == "here":
        source.candidates.append(Candidate(info(node).id, info(node).addresses))
    router = loopback.make_router(source)
    async with loopback.running(router):
        if who_dials == "js":
            await node.call("dial", address(router))
        await loopback.until_known(router, 1)
        while not await node.call("table"):
            await asyncio.sleep(0.05)

        await router.advertise([DIGEST])
        found = await node.call("find", DIGEST, 1)
        assert list(found) == [str(router.info().id)]
        assert found[str(router.info().id)] == [str(one) for one in router.info().addresses]

        await node.call("provide", TAG)
        (peer,) = await find(router, TAG)
        assert peer.id == node.id
        assert [str(one) for one in peer.addresses] == ["127.0.0.1"]


async def test_fifty_mixed_nodes_are_one_network(js: JsNodes) -> None:
    source = loopback.Others()
    routers = [loopback.make_router(source) for _ in range(45)]
    async with loopback.running(*routers), asyncio.timeout(300):
        nodes = [await js.start(f"node-{number}") for number in range(5)]
        for number, node in enumerate(nodes):
            await node.call("dial", address(routers[9 * number]))
        for router in routers:
            await loopback.until_known(router, 10)
        for node in nodes:
            await node.call("refresh")

        ours = [f"sha256:{number:064x}" for number in range(45)]
        for router, key in zip(routers, ours, strict=True):
            await router.advertise([key])
        theirs = [f"docker.io/library/app:{number}" for number in range(5)]
        for node, key in zip(nodes, theirs, strict=True):
            await node.call("provide", key)

        for number, key in enumerate(theirs):
            for router in routers[::4]:
                assert [peer.id for peer in await find(router, key, 1)] == [nodes[number].id], key
            for node in nodes:
                if node is not nodes[number]:
                    assert list(await node.call("find", key, 1)) == [nodes[number].id], key
        for number, key in enumerate(ours):
            expected = str(routers[number].info().id)
            assert list(await nodes[number % 5].call("find", key, 1)) == [expected], key
            assert [peer.id for peer in await find(routers[number - 7], key, 1)] == [expected], key
