"""The DHT's messages on streams of the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from daemon.kademlia.message import MAX_ANSWER, MAX_REQUEST, Message
from daemon.kademlia.network import NetworkError
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p import varint
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import DialError, Host, Stream, StreamError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo

_REQUEST_PATIENCE = 5.0
"""Seconds that a request may take, dialling included."""
_SEND_PATIENCE = 20.0
"""The same for a batch of messages."""
_AT_ONCE = 32
"""Requests to one peer; more wait. Peers allow only so many streams, go-libp2p 64 for a protocol, and one
that refuses a stream would pass for one that does not answer."""
_TURN = 32
"""Requests of one stream that are answered before others have their turn."""
_PIECE = 32 * 1024
"""Bytes of messages that are written at once."""

_FAILURES = (DialError, StreamError, RemoteProtocolError, TimeoutError)


class DhtNetwork:
    """Implements `daemon.kademlia.network.Network`, and serves what others ask.

    A request has a stream of its own: with the protocol proposed in the same packet a further stream costs no
    round trip, and nobody has to keep idle ones.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._places = WeakValueDictionary[PeerId, asyncio.Semaphore]()  # as long as there are requests

    def serve(self, answer: Callable[[PeerId, str, Message], Message | None]) -> None:
        """Answer requests of others from now on; ``answer`` is told who asks and from which IP address."""

        async def handle(stream: Stream) -> None:
            count, (address, _) = 0, stream.remote
            while (data := await stream.read_delimited(MAX_REQUEST)) is not None:
                answered = answer(stream.peer_id, address, self._decoded(data))
                if answered is not None:
                    await stream.write(varint.delimit(answered.encode()))
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)

        self._host.handle(PROTOCOL, handle)

    async def request(self, peer: PeerInfo, message: Message) -> Message:
        """Send a request and return its answer.

        Raises:
            NetworkError: there is no answer.
        """
        try:
            async with (
                asyncio.timeout(_REQUEST_PATIENCE),
                self._places.setdefault(peer.id, asyncio.Semaphore(_AT_ONCE)),
            ):
                stream = await self._host.open_stream(peer, PROTOCOL)
                try:
                    await stream.write(varint.delimit(message.encode()))
                    stream.close_write()  # in the same packet, so that the answer and its end come in one too
                    data = await stream.read_delimited(MAX_ANSWER)
                finally:
                    stream.close()
            if data is None:
                raise NetworkError(f"{peer.id} gives no answer")
            return self._decoded(data)
        except _FAILURES as error:
            raise NetworkError(f"{peer.id}: {str(error) or 'no answer in time'}") from error

    async def send(self, peer: PeerInfo, messages: Sequence[Message]) -> None:
        """Send messages that are not answered; return when the peer has taken in all of them.

        Raises:
            NetworkError: it has not.
        """
        try:
            async with asyncio.timeout(_SEND_PATIENCE):
                stream = await self._host.open_stream(peer, PROTOCOL)
                try:
                    await self._send(stream, messages)
                except BaseException:
                    stream.reset()
                    raise
                stream.close()
        except _FAILURES as error:
            raise NetworkError(f"{peer.id}: {str(error) or 'not all taken in time'}") from error

    async def _send(self, stream: Stream, messages: Sequence[Message]) -> None:
        piece = bytearray()
        for message in messages:
            piece += varint.delimit(message.encode())
            if len(piece) >= _PIECE:
                await stream.write(bytes(piece))
                piece.clear()
        await stream.write(bytes(piece))
        stream.close_write()
        # The peer ends its side once it has read all; until then a reset can still follow.
        if await stream.read(1):
            raise RemoteProtocolError("an answer where none belongs")

    def addresses(self) -> Sequence[Multiaddr]:
        """Return where others reach this node."""
        return self._host.addresses()

    def _decoded(self, data: bytes) -> Message:
        return Message.decode(data, self._host.hearsay)
