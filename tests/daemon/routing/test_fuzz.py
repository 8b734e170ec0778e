"""Hostile peers over real sockets, at every layer: nothing crashes, hangs or stays behind.

There are a twentieth of ``FUZZ_REQUESTS`` of them; ``FUZZ_SEED`` says which.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
from collections.abc import Awaitable, Callable

import pytest

from daemon.kademlia.key import content_key
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p import identify, noise, ping, varint, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import Stream
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.host.wire import Wire
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.multistream import Initiator
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.libp2p.host.hosts import Stranger, make_host, stranger, until
from tests.daemon.routing import loopback

ATTACKS = int(os.environ.get("FUZZ_REQUESTS", "6000")) // 20
SEED = int(os.environ.get("FUZZ_SEED", "1"))
PATIENCE = 20.0
"""Seconds within which a host is done with whoever is; only a broken one needs them."""

KEY = content_key("sha256:" + "ab" * 32)
SOMEBODY = PrivateKey.generate()
RECORD = PeerInfo(SOMEBODY.peer_id, (Multiaddr.parse("/ip4/127.0.0.1/tcp/1"),))
# Without addresses: a host would dial those that are told.
MESSAGES = {
    PROTOCOL: [
        *(Message(kind, KEY).encode() for kind in MessageType),
        Message(MessageType.FIND_NODE, SOMEBODY.peer_id.raw).encode(),
        Message(MessageType.ADD_PROVIDER, KEY, providers=(RECORD,)).encode(),
    ],
    identify.PUSH_PROTOCOL: [
        Identify(public_key=SOMEBODY.public_key, listen_addresses=(), protocols=(PROTOCOL,)).encode()
    ],
    identify.PROTOCOL: [b""],
    ping.PROTOCOL: [bytes(32)],
}

Attack = Callable[[random.Random, Stranger], Awaitable[None]]


def spoiled(chance: random.Random, data: bytes) -> bytes:
    """Change bytes, cut some out, put some in, or say some twice; leave a few as they are."""
    changed = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 8))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + chance.randrange(1, 9)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 3:
                changed[at:at] = changed[: chance.randrange(len(changed) + 1)]
            case _:
                changed[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"))
    return bytes(changed)


async def noise_of_the_line(chance: random.Random, peer: Stranger) -> None:
    peer.writer.write(chance.randbytes(chance.choice((1, 20, 300, 70_000))))


async def opening(chance: random.Random, peer: Stranger) -> None:
    credentials = noise.Credentials(PrivateKey.generate(), [yamux.PROTOCOL])
    peer.writer.write(spoiled(chance, Upgrade(credentials, initiator=True).start()))


async def handshake(chance: random.Random, peer: Stranger) -> None:
    credentials = noise.Credentials(PrivateKey.generate(), [yamux.PROTOCOL])
    machine = Upgrade(credentials, initiator=True)
    peer.writer.write(machine.start())
    while not machine.done:
        last = machine.receive(await peer.reader.read(65536))
        peer.writer.write(spoiled(chance, last) if machine.done else last)


async def ciphertext(chance: random.Random, peer: Stranger) -> None:
    await peer.upgrade()
    assert peer.transport is not None
    peer.writer.write(spoiled(chance, peer.transport.encrypt(bytes(12))))


async def frames(chance: random.Random, peer: Stranger) -> None:
    await peer.upgrade()
    assert peer.transport is not None
    for _ in range(chance.randrange(1, 6)):
        number = peer.session.open_stream()
        peer.session.send(number, Initiator([chance.choice([*MESSAGES])]).start())
        if chance.random() < 0.5:
            peer.session.finish(number)
    peer.session.ping(7)
    peer.writer.write(peer.transport.encrypt(spoiled(chance, b"".join(peer.session.take_output()))))


async def messages(chance: random.Random, peer: Stranger) -> None:
    await peer.upgrade()
    for _ in range(chance.randrange(1, 6)):
        protocol = chance.choice([*MESSAGES])
        number = peer.session.open_stream()
        said = b"".join(
            varint.delimit(spoiled(chance, chance.choice(MESSAGES[protocol])))
            for _ in range(chance.randrange(1, 5))
        )
        peer.session.send(number, Initiator([protocol]).start() + spoiled(chance, said))
        if chance.random() < 0.5:
            peer.session.finish(number)
    await peer.send()


ATTACKS_BY_LAYER: list[Attack] = [noise_of_the_line, opening, handshake, ciphertext, frames, messages]


async def attack(router: loopback.Libp2pRouter, chance: random.Random) -> None:
    """Do harm once, say goodbye, and see that the host hangs up as well."""
    async with stranger(router._host) as peer, asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError, RemoteProtocolError):
            await chance.choice(ATTACKS_BY_LAYER)(chance, peer)
            await peer.writer.drain()
            peer.writer.write_eof()
            while await peer.reader.read(65536):
                pass


def alive() -> int:
    """Count what connections leave behind when they leak."""
    gc.collect()
    return sum(isinstance(one, Connection | Stream | Wire) for one in gc.get_objects())


async def test_hostile_peers_leave_no_trace_and_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    chance = random.Random(SEED)
    source = loopback.Others()
    router, honest = loopback.make_router(source), loopback.make_router(source)
    async with loopback.running(router, honest):
        await loopback.until_known(router, 1)
        await loopback.until_known(honest, 1)
        await router.advertise(["sha256:" + "cd" * 32])
        host = router._host
        await until(lambda: not any(connection._streams for connection in host._roster))
        before = alive()
        for start in range(0, ATTACKS, 20):
            await asyncio.gather(*(attack(router, chance) for _ in range(min(20, ATTACKS - start))))
        await until(lambda: host.peers() == [honest._host.peer_id] and len(host._inbound) == 1)
        await until(lambda: not any(connection._streams for connection in host._roster))
        found = [peer.id async for peer in honest.lookup("sha256:" + "cd" * 32, 1)]
        assert found == [router.id]
        await until(lambda: alive() == before)
        assert host._held == 0
        assert router.known == 1
    assert [record.getMessage() for record in caplog.records] == []


async def test_answers_that_make_no_sense_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    chance = random.Random(SEED)
    answered = 0

    async def babble(stream: Stream) -> None:
        nonlocal answered
        while (data := await stream.read_delimited(65536)) is not None:
            request = Message.decode(data)
            answer = Message(request.type, request.key)
            if request.type is not MessageType.PING:
                answered += 1
                others = tuple(PeerInfo(PrivateKey.generate().peer_id, ()) for _ in range(3))
                answer = Message(request.type, request.key, others, others)
            encoded = answer.encode()
            if request.type is not MessageType.PING:
                encoded = spoiled(chance, encoded)
            await stream.write(varint.delimit(encoded))

    async with make_host() as liar:
        liar.handle(PROTOCOL, babble)
        source = loopback.Others()
        router = loopback.make_router(source)
        async with loopback.running(router):
            await liar.connect(router.info())
            await loopback.until_known(router, 1)
            for number in range(ATTACKS // 6):
                async with asyncio.timeout(PATIENCE):
                    key = f"sha256:{number:064x}"
                    assert [peer async for peer in router.lookup(key, 3)] == []
                if not router.known:  # it does not believe in the liar any more
                    router._node.found(PeerInfo(liar.peer_id, liar.addresses()))
                    await loopback.until_known(router, 1)
    assert answered >= ATTACKS // 6
    assert [record.getMessage() for record in caplog.records] == []
