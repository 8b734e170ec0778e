"""What peers say of themselves, and how much of it is believed."""

from __future__ import annotations

import asyncio

import pytest

from daemon.libp2p import identify, varint, yamux
from daemon.libp2p.host import DialError, Limits, Stream
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.libp2p.host.hosts import Watcher, info, make_host, say, stranger, until
from tests.virtual_time import now, virtual_time

SHORT = Identify(protocols=("/a", "/b")).encode()


@pytest.mark.parametrize(
    "said",
    [
        varint.delimit(bytes(2**20)),
        varint.delimit(SHORT) * (identify.MAX_MESSAGES + 1),
        varint.delimit(Identify(public_key=PrivateKey.generate().public_key).encode()),
        varint.delimit(b"\xff" * 100),
        b"\xff" * 10,
    ],
    ids=["a megabyte", "too many parts", "another's key", "no message", "no length"],
)
async def test_who_says_too_much_or_something_false_is_no_peer_of_the_network(said: bytes) -> None:
    watcher, told = Watcher(), asyncio.Event()

    async def tell(stream: Stream) -> None:
        told.set()
        await stream.write(said)

    async with make_host(watcher) as host, make_host() as liar:
        liar.handle(identify.PROTOCOL, tell)
        await host.connect(info(liar))
        await told.wait()
        assert await say(host, info(liar)) == b"hello"
        (connection,) = host._roster
        await until(lambda: connection.idle_since is not None)
        assert liar.peer_id not in watcher.met
        assert host.known_addresses(liar.peer_id) == ()
        assert host._held == 0


async def test_addresses_at_which_nobody_else_can_be_are_not_learned() -> None:
    watcher = Watcher()
    async with make_host(watcher) as host, make_host() as peer:
        good = Multiaddr.parse("/ip4/10.0.0.9/tcp/5001")
        bad = ("/ip4/169.254.169.254/tcp/80", "/ip4/0.0.0.0/tcp/1", "/dns4/localhost/tcp/1")
        real = info(peer)
        peer._introductions.addresses = (*map(Multiaddr.parse, bad), good)
        await host.connect(real)
        met, _ = await watcher.until_met(peer.peer_id)
        assert met.addresses == (good,)


async def test_what_a_push_leaves_out_is_unchanged() -> None:
    watcher = Watcher()
    moved = Identify(listen_addresses=(Multiaddr.parse("/ip4/10.0.0.9/tcp/5001"),))
    async with make_host(watcher) as host, make_host() as peer:
        await host.connect(info(peer))
        _, protocols = await watcher.until_met(peer.peer_id)
        stream = await peer.open_stream(info(host), identify.PUSH_PROTOCOL)
        await stream.write(varint.delimit(moved.encode()))
        stream.close()
        await until(lambda: host.known_addresses(peer.peer_id) == moved.listen_addresses)
        assert watcher.met[peer.peer_id][1] == protocols != ()


async def test_a_flood_of_introductions_leaves_nothing_behind() -> None:
    watcher = Watcher()
    async with make_host(watcher) as host, make_host() as peer:
        await host.connect(info(peer))
        await watcher.until_met(peer.peer_id)
        (connection,) = peer._roster
        for _ in range(20):
            await asyncio.gather(*(peer._introductions.push(connection) for _ in range(50)))
        assert await say(host, info(peer)) == b"hello"
        assert host.known_addresses(peer.peer_id) == peer.addresses()
        await until(lambda: all(not one._streams for one in host._roster))


@virtual_time
async def test_a_peer_that_says_goodbye_is_asked_nothing_more_and_let_go() -> None:
    watcher, key = Watcher(), PrivateKey.generate()
    async with make_host(watcher, limits=Limits(grace=5)) as host, stranger(host) as peer:
        await peer.upgrade(key)
        await until(host.peers)
        peer.session.leave(yamux.GoAway.NORMAL)
        await peer.send()
        await until(lambda: host._roster.best(key.peer_id) is None)
        with pytest.raises(DialError, match="no TCP address"):
            await say(host, PeerInfo(key.peer_id, ()))
        await watcher.until_lost(key.peer_id)
        assert now() < 20
