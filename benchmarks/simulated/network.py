"""The network between simulated nodes: latency, loss, partitions, and an account of what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random

from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.network import NetworkError
from daemon.kademlia.node import Node
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo

TIMEOUT = 5.0
"""Seconds after which a request without an answer fails."""
DIAL_ROUND_TRIPS = 4
"""TCP, the Noise handshake, and the negotiation of the protocols."""
OVERHEAD = 32
"""Bytes that carry a message: its length, yamux's header, Noise's length and tag; not TCP and IP."""


@dataclass(slots=True)
class Conditions:
    """What the network is like; may be changed at any time."""

    latency: float = 0.0005
    """Seconds, one way, on average; exponentially distributed above half of it."""
    loss: float = 0.0
    """The part of requests and batches that get lost."""
    codec: bool = True
    """Whether messages are encoded and decoded on their way."""


@dataclass(slots=True)
class Traffic:
    """What one node has sent and received, requests and answers."""

    requests: int = 0
    """Requests and records that it sent."""
    handled: int = 0
    """Requests and records of others that it handled."""
    records: int = 0
    """Records among what it handled."""
    bytes_sent: int = 0
    bytes_received: int = 0


class Switchboard:
    """Where all nodes are plugged in."""

    def __init__(self, random: Random, conditions: Conditions) -> None:
        self.random = random
        self.conditions = conditions
        self.ports: dict[bytes, Port] = {}

    def delay(self) -> float:
        """Return the time that one message takes."""
        half = self.conditions.latency / 2
        return half + self.random.expovariate(1 / half)

    def is_lost(self) -> bool:
        """Tell whether a message gets lost."""
        return self.random.random() < self.conditions.loss


@dataclass(slots=True, eq=False)
class Port:
    """One node's end of the network; implements daemon.kademlia.network.Network."""

    switchboard: Switchboard
    info: PeerInfo
    side: int = 0
    """Nodes on different sides of a partition do not reach one another."""
    node: Node | None = None
    """None when it is off."""
    listens: bool = True
    """Whether the node is told who connects."""
    connected: set[bytes] = field(default_factory=set)
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def address(self) -> str:
        """Where the node is, as others see it: each is at a place of its own."""
        return self.info.id.raw.hex()

    async def request(self, peer: PeerInfo, message: Message) -> Message:
        """Carry a request and its answer."""
        other = await self._reach(peer)
        self._count(other, 1, wire_size(message))
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Message] = loop.create_future()
        loop.call_later(self.switchboard.delay(), self._deliver, other, message, answered)
        return self._carried(await answered)

    def _deliver(self, other: Port, message: Message, answered: asyncio.Future[Message]) -> None:
        """Let a request arrive, and its answer be on its way."""
        loop = asyncio.get_running_loop()
        if other.node is None:
            loop.call_later(TIMEOUT, _fail, answered, "no answer in time")
            return
        try:
            answer = other.node.answer(self.info.id, self.address, self._carried(message))
        except RemoteProtocolError as error:
            _fail(answered, str(error))
            return
        if answer is None:
            _fail(answered, "there is no answer to this")
            return
        size = wire_size(answer)
        other.traffic.bytes_sent += size
        self.traffic.bytes_received += size
        loop.call_later(self.switchboard.delay(), _finish, answered, answer)

    async def send(self, peer: PeerInfo, messages: Sequence[Message]) -> None:
        """Carry messages that have no answers."""
        other = await self._reach(peer)
        # All are as long as the first, records of one node.
        self._count(other, len(messages), len(messages) * wire_size(messages[0]))
        other.traffic.records += len(messages)
        await asyncio.sleep(self.switchboard.delay())
        if other.node is None:
            raise await self._timeout()
        for message in messages:
            other.node.answer(self.info.id, self.address, self._carried(message))

    def addresses(self) -> Sequence[Multiaddr]:
        """Return the node's one address."""
        return self.info.addresses

    async def _reach(self, peer: PeerInfo) -> Port:
        other = self.switchboard.ports.get(peer.id.raw)
        if other is None or other.node is None or other.side != self.side or self.switchboard.is_lost():
            raise await self._timeout()
        if other.info.id.raw not in self.connected:
            self.connected.add(other.info.id.raw)
            other.connected.add(self.info.id.raw)
            await asyncio.sleep(sum(self.switchboard.delay() for _ in range(2 * DIAL_ROUND_TRIPS)))
            for one, another in ((self, other), (other, self)):
                if one.listens and one.node is not None:
                    one.node.found(another.info)
        return other

    async def _timeout(self) -> NetworkError:
        await asyncio.sleep(TIMEOUT)
        return NetworkError("no answer in time")

    def _count(self, other: Port, messages: int, size: int) -> None:
        self.traffic.requests += messages
        self.traffic.bytes_sent += size
        other.traffic.handled += messages
        other.traffic.bytes_received += size

    def _carried(self, message: Message) -> Message:
        return Message.decode(message.encode()) if self.switchboard.conditions.codec else message


def peer_info(number: int, random: Random) -> PeerInfo:
    """Make up a node: an Ed25519 peer ID and an address."""
    peer = PeerId(bytes.fromhex("002408011220") + random.randbytes(32))
    return PeerInfo(peer, (Multiaddr.tcp(IPv4Address(0x0A000001 + number), 5001),))


def _finish(answered: asyncio.Future[Message], answer: Message) -> None:
    if not answered.done():  # nor given up
        answered.set_result(answer)


def _fail(answered: asyncio.Future[Message], why: str) -> None:
    if not answered.done():
        answered.set_exception(NetworkError(why))


_PEER_SIZE = len(Message(MessageType.PING, closer=(peer_info(0, Random(0)),)).encode()) - len(
    Message(MessageType.PING).encode()
)


def wire_size(message: Message) -> int:
    """Return the bytes of a message on the wire. Peers, as ``peer_info`` makes them, are of one size."""
    peers = len(message.closer) + len(message.providers)
    return OVERHEAD + len(Message(message.type, message.key).encode()) + peers * _PEER_SIZE
