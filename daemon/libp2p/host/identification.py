"""Identify, identify push and ping, as this host serves and uses them."""

from __future__ import annotations

from daemon.libp2p import identify, ping, varint
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.stream import Stream
from daemon.libp2p.identify import Identify

_TURN = 4096


async def ask(connection: Connection) -> Identify:
    """Ask a peer who it is.

    Raises:
        StreamError, RemoteProtocolError: it does not say.
    """
    stream = connection.open_stream(identify.PROTOCOL)
    try:
        await stream.write(b"")
        stream.close_write()
        return await read(stream)
    finally:
        stream.close()


async def read(stream: Stream) -> Identify:
    """Read what a peer says of itself, all parts of it.

    Raises:
        StreamError, RemoteProtocolError: it says no such thing.
    """
    parts: list[bytes] = []
    while (part := await stream.read_delimited(identify.MAX_MESSAGE)) is not None:
        parts.append(part)
        if len(parts) > identify.MAX_MESSAGES:
            raise RemoteProtocolError("an identify message in too many parts")
    said = Identify.decode(b"".join(parts))
    if said.public_key is not None and said.public_key.peer_id != stream.peer_id:
        raise RemoteProtocolError("a peer says that it is another one")
    return said


async def tell(stream: Stream, message: Identify) -> None:
    """Say who this node is, as answer or as push."""
    await stream.write(varint.delimit(message.encode()))
    stream.close_write()


async def echo(stream: Stream) -> None:
    """Answer pings until the peer has enough."""
    machine = ping.Echo()
    while data := await stream.read(_TURN):
        if answer := machine.receive(data):
            await stream.write(answer)


async def measure(stream: Stream) -> None:
    """Ping once; return when the answer is there."""
    pinger = ping.Pinger()
    await stream.write(pinger.start())
    answered = False
    while not answered:
        data = await stream.read(ping.SIZE)
        if not data:
            raise RemoteProtocolError("a ping is not answered")
        answered = pinger.receive(data)
