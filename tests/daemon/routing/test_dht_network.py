"""The DHT's messages between hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from daemon.kademlia.key import content_key
from daemon.kademlia.message import MAX_REQUEST, Message, MessageType
from daemon.kademlia.network import NetworkError
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p import varint
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import Host, Stream
from daemon.libp2p.host.wire import Wire
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.multistream import Initiator
from daemon.libp2p.peer_info import PeerInfo
from daemon.routing.dht_network import DhtNetwork
from tests.daemon.libp2p.host.hosts import connections, info, make_host, stranger, until
from tests.virtual_time import now, virtual_time

KEY = content_key("sha256:" + "ab" * 32)
ASK = Message(MessageType.GET_PROVIDERS, KEY)
SOMEBODY = PrivateKey.generate().peer_id

Answer = Callable[[PeerId, str, Message], Message | None]


@asynccontextmanager
async def network(answer: Answer) -> AsyncIterator[tuple[DhtNetwork, Host, Host]]:
    """A network with two hosts, of which the other one answers."""
    async with make_host() as one, make_host() as other:
        DhtNetwork(other).serve(answer)
        yield DhtNetwork(one), one, other


def nothing(_: PeerId, __: str, ___: Message) -> Message | None:
    return None


async def test_a_request_and_its_answer() -> None:
    asked: list[tuple[PeerId, str, Message]] = []

    def answer(sender: PeerId, address: str, message: Message) -> Message:
        asked.append((sender, address, message))
        return Message(message.type, message.key, providers=(PeerInfo(sender, ()),))

    async with network(answer) as (net, one, other):
        got = await net.request(info(other), ASK)
        assert asked == [(one.peer_id, "127.0.0.1", ASK)]
        assert got.providers == (PeerInfo(one.peer_id, ()),)
        assert net.addresses() == one.addresses()


async def test_a_request_and_its_answer_take_a_packet_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle() -> bool:
        return not any(connection._streams for host in (one, other) for connection in host._roster)

    async with network(lambda _, __, message: Message(message.type, message.key)) as (net, one, other):
        await net.request(info(other), ASK)  # there is a connection from now on
        await until(idle)
        sent: list[Wire] = []
        write = Wire.write
        monkeypatch.setattr(Wire, "write", lambda wire, data: (sent.append(wire), write(wire, data)))
        await net.request(info(other), ASK)
        await until(idle)
        assert sent == [connection._wire for host in (one, other) for connection in host._roster]


async def test_however_many_requests_at_once_share_a_connection_and_leave_no_stream() -> None:
    async with network(lambda _, __, message: Message(message.type, message.key)) as (net, one, other):
        await asyncio.gather(*(net.request(info(other), ASK) for _ in range(1000)))
        assert connections(one) == connections(other) == 1
        everything = [connection for host in (one, other) for connection in host._roster]
        await until(lambda: not any(connection._streams for connection in everything))


async def test_a_thousand_messages_travel_over_one_stream_in_order() -> None:
    got: list[bytes] = []

    def take(_: PeerId, __: str, message: Message) -> None:
        got.append(message.key)

    async with network(take) as (net, _, other):
        opened = 0
        serve = other.serve

        def count(stream: Stream) -> None:
            nonlocal opened
            opened += stream.protocol == PROTOCOL
            serve(stream)

        other.serve = count  # type: ignore[method-assign]
        keys = [content_key(str(number)) for number in range(1000)]
        provider = (PeerInfo(SOMEBODY, other.addresses() * 3),)
        await net.send(info(other), [Message(MessageType.ADD_PROVIDER, key, (), provider) for key in keys])
        assert got == keys, "all have been taken in when it returns"
        assert opened == 1


async def test_a_peer_that_refuses_one_message_is_an_error() -> None:
    def refuse(_: PeerId, __: str, ___: Message) -> Message | None:
        raise RemoteProtocolError("a provider record is for another peer than its sender")

    async with network(refuse) as (net, _, other):
        with pytest.raises(NetworkError, match="reset by the peer"):
            await net.send(info(other), [Message(MessageType.ADD_PROVIDER, KEY)])
        with pytest.raises(NetworkError, match="reset by the peer"):
            await net.request(info(other), ASK)


async def test_a_peer_that_cannot_be_reached() -> None:
    async with network(nothing) as (net, _, _other):
        with pytest.raises(NetworkError, match="no TCP address"):
            await net.request(PeerInfo(SOMEBODY, ()), ASK)
        with pytest.raises(NetworkError):
            await net.send(PeerInfo(SOMEBODY, ()), [ASK])


async def test_a_peer_that_does_not_speak_the_protocol() -> None:
    async with make_host() as one, make_host() as other:
        with pytest.raises(NetworkError, match=f"does not speak {PROTOCOL}|reset by the peer"):
            await DhtNetwork(one).request(info(other), ASK)


async def test_a_peer_that_ends_the_stream_without_an_answer() -> None:
    async def end(stream: Stream) -> None:
        await stream.read_delimited(MAX_REQUEST)

    async with make_host() as one, make_host() as other:
        other.handle(PROTOCOL, end)
        with pytest.raises(NetworkError, match="gives no answer"):
            await DhtNetwork(one).request(info(other), ASK)


async def test_a_peer_that_answers_nonsense() -> None:
    async def babble(stream: Stream) -> None:
        await stream.write(varint.delimit(b"\x08\xff\xff\x03"))

    async with make_host() as one, make_host() as other:
        other.handle(PROTOCOL, babble)
        with pytest.raises(NetworkError, match="no type of a message"):
            await DhtNetwork(one).request(info(other), ASK)
        with pytest.raises(NetworkError, match="an answer where none belongs"):
            await DhtNetwork(one).send(info(other), [ASK])


@virtual_time
async def test_a_peer_that_never_answers_is_given_up_in_time() -> None:
    async def brood(_: Stream) -> None:
        await asyncio.get_running_loop().create_future()

    async with make_host() as one, make_host() as other:
        other.handle(PROTOCOL, brood)
        with pytest.raises(NetworkError, match="no answer in time"):
            await DhtNetwork(one).request(info(other), ASK)
        assert now() <= 5.1
        await until(lambda: all(not connection._streams for connection in one._roster))


async def test_an_oversized_request_is_refused() -> None:
    async with network(nothing) as (_, one, other):
        stream = await one.open_stream(info(other), PROTOCOL)
        await stream.write(varint.encode(MAX_REQUEST + 1))
        with pytest.raises(Exception, match="reset by the peer"):
            await stream.read(1)


async def test_requests_are_answered_in_turn_with_others() -> None:
    async with network(lambda _, __, message: Message(message.type, message.key)) as (_, one, other):
        stream = await one.open_stream(info(other), PROTOCOL)
        request = varint.delimit(ASK.encode())
        await stream.write(request * 300)
        for _ in range(300):
            answer = await stream.read_delimited(1000)
            assert answer is not None
            assert Message.decode(answer).key == KEY
        stream.close()


async def test_a_stranger_that_hangs_up_in_the_middle_does_no_harm() -> None:
    async with network(nothing) as (_, _, other), stranger(other) as peer:
        await peer.upgrade()
        number = peer.session.open_stream()
        peer.session.send(number, Initiator([PROTOCOL]).start() + b"\xff\x03half")
        await peer.send()
        peer.writer.close()
        await until(lambda: not other.peers())
