"""Hosts on loopback, and a stranger who speaks the protocols by hand and badly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address

from daemon.libp2p import noise, varint, yamux
from daemon.libp2p.host import Host, Limits, Stream
from daemon.libp2p.host.upgrade import Upgrade
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.peer_info import PeerInfo

ECHO = "/echo/1.0.0"
PATIENCE = 20.0
"""Seconds for whatever is waited for; only a broken host needs them."""


class Watcher:
    """Remembers who came and went."""

    def __init__(self) -> None:
        self.met: dict[PeerId, tuple[PeerInfo, tuple[str, ...]]] = {}
        self.lost: list[PeerId] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def identified(self, peer: PeerInfo, protocols: Sequence[str]) -> None:
        self.met[peer.id] = (peer, tuple(protocols))
        self._tell()

    def gone(self, peer: PeerId) -> None:
        self.lost.append(peer)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_met(self, peer: PeerId) -> tuple[PeerInfo, tuple[str, ...]]:
        """Wait until a peer has identified itself."""
        async with asyncio.timeout(PATIENCE):
            while peer not in self.met:
                await self._changed.wait()
        return self.met[peer]

    async def until_lost(self, peer: PeerId) -> None:
        """Wait until a peer is gone."""
        async with asyncio.timeout(PATIENCE):
            while peer not in self.lost:
                await self._changed.wait()


def loopback(version: int) -> Iterable[IPv4Address | IPv6Address]:
    """Announce loopback, which hosts do not do of themselves."""
    return [IPv4Address("127.0.0.1") if version == 4 else IPv6Address("::1")]


def listener(address: str = "0.0.0.0") -> socket.socket:
    """Listen on any port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family, backlog=1024)


def make_host(
    watcher: Watcher | None = None,
    *,
    limits: Limits | None = None,
    key: PrivateKey | None = None,
    listeners: Sequence[socket.socket] | None = None,
) -> Host:
    """Make a host that echoes messages."""
    host = Host(
        key or PrivateKey.generate(),
        watcher or Watcher(),
        [listener()] if listeners is None else listeners,
        agent="test/1",
        limits=limits,
        own_addresses=loopback,
    )
    host.handle(ECHO, echo)
    return host


def info(host: Host) -> PeerInfo:
    """Return how others find a host."""
    return PeerInfo(host.peer_id, host.addresses())


@asynccontextmanager
async def pair(limits: Limits | None = None) -> AsyncIterator[tuple[Host, Host]]:
    """Run two hosts that do not know each other."""
    async with make_host(limits=limits) as one, make_host(limits=limits) as other:
        yield one, other


async def echo(stream: Stream) -> None:
    """Send back every message."""
    while (message := await stream.read_delimited(2**20)) is not None:
        await stream.write(varint.delimit(message))


async def say(host: Host, peer: PeerInfo, message: bytes = b"hello") -> bytes | None:
    """Have a message echoed."""
    async with asyncio.timeout(PATIENCE):
        stream = await host.open_stream(peer, ECHO)
        try:
            await stream.write(varint.delimit(message))
            return await stream.read_delimited(2**20)
        finally:
            stream.close()


def connections(host: Host) -> int:
    """Return how many connections a host has."""
    return len(host._roster)


async def until(condition: object) -> None:
    """Wait for what no event tells."""
    assert callable(condition)
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


class Stranger:
    """A connection whose bytes the test decides about."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session = yamux.Session(client=True, limits=yamux.Limits(backlog=10_000))
        self.transport: noise.Transport | None = None
        self.events: list[yamux.Event] = []

    async def upgrade(self, key: PrivateKey | None = None) -> None:
        """Do the handshake as it should be done."""
        machine = Upgrade(noise.Credentials(key or PrivateKey.generate(), [yamux.PROTOCOL]), initiator=True)
        self.writer.write(machine.start())
        while not machine.done:
            data = await self.reader.read(65536)
            assert data, "the host hung up"
            self.writer.write(machine.receive(data))
        self.transport = machine.secured.transport
        self._take(machine.rest)

    async def send(self) -> None:
        """Send what the session has to send."""
        assert self.transport is not None
        self.writer.write(self.transport.encrypt(b"".join(self.session.take_output())))
        await self.writer.drain()

    async def receive(self) -> bool:
        """Take in what comes; tell whether anything did before the end."""
        with contextlib.suppress(ConnectionError):
            if data := await self.reader.read(65536):
                assert self.transport is not None
                self._take(self.transport.receive(data))
                return True
        return False

    def _take(self, plaintexts: Iterable[bytes]) -> None:
        for plaintext in plaintexts:
            self.events += self.session.receive(plaintext)

    async def until_closed(self) -> None:
        """Wait until the host hangs up."""
        while await self.receive():
            pass


@asynccontextmanager
async def stranger(host: Host) -> AsyncIterator[Stranger]:
    """Connect to a host by hand."""
    address = host.addresses()[0]
    reader, writer = await asyncio.open_connection(str(address.ip), address.tcp_port)
    try:
        yield Stranger(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
