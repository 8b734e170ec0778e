"""One stream of a connection, as whoever speaks a protocol on it sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.libp2p import multistream, varint
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host.errors import StreamError

if TYPE_CHECKING:
    from daemon.libp2p.host.connection import Connection
    from daemon.libp2p.identity import PeerId


class Stream:
    """Bytes there and back. One task may read and one may write; closing and resetting never wait."""

    __slots__ = (
        "_buffer",
        "_connection",
        "_ended",
        "_error",
        "_finished",
        "_number",
        "_opening",
        "_reading",
        "_released",
        "_select",
        "_writing",
        "active",
        "inbound",
        "protocol",
    )

    def __init__(
        self, connection: Connection, number: int, select: multistream.Initiator | multistream.Responder
    ) -> None:
        """Made by the connection; ``select`` agrees with the peer on what the stream is for."""
        self._connection = connection
        self._number = number
        self._select: multistream.Initiator | multistream.Responder | None = select
        self.inbound = isinstance(select, multistream.Responder)
        self._opening = select.start() if isinstance(select, multistream.Initiator) else b""
        self.protocol: str | None = None
        """What was agreed on; None before that."""
        self.active = 0.0
        """When something came in last."""
        self._buffer = bytearray()
        self._released = 0  # of the buffer, bytes that the peer may send again already
        self._ended = False  # by the peer
        self._finished = False  # by us
        self._error: StreamError | RemoteProtocolError | None = None
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    @property
    def peer_id(self) -> PeerId:
        """Who is at the other end."""
        return self._connection.peer_id

    @property
    def remote(self) -> tuple[str, int]:
        """IP address and port of the other end."""
        return self._connection.remote

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more: the stream was reset, closed or lost."""
        return self._error is not None

    async def read(self, limit: int) -> bytes:
        """Return what there is, at least a byte and at most ``limit``; nothing behind the peer's end.

        Raises:
            StreamError: the stream was reset or lost.
            RemoteProtocolError: the peer does not speak the protocol.
        """
        while not self._buffer:
            if self._ended:
                return b""
            await self._arrival()
        return self._take(min(limit, len(self._buffer)))

    async def read_delimited(self, limit: int) -> bytes | None:
        """Return the next message that has its length before it; None when the peer ended the stream instead.

        Raises:
            StreamError: the stream was reset or lost.
            RemoteProtocolError: the message is longer than ``limit`` or cut off, or the peer does not speak
                the protocol.
        """
        while True:
            prefix = varint.decode(self._buffer)
            if prefix is not None:
                size, start = prefix
                if size > limit:
                    raise RemoteProtocolError(f"a message of {size} bytes, where {limit} are the most")
                if len(self._buffer) >= start + size:
                    return self._take(start + size)[start:]
            if self._ended:
                if self._buffer:
                    raise RemoteProtocolError("the stream ends in the middle of a message")
                return None
            self._release(len(self._buffer))
            await self._arrival()

    async def write(self, data: bytes) -> None:
        """Send; return when all of it is on its way, which the peer can delay.

        Raises:
            StreamError: the stream was reset or lost.
        """
        left = memoryview(self._opening + data)
        self._opening = b""
        while left:
            if self._error is not None:
                raise self._error
            if self._connection.congested:
                await self._connection.drained()
                continue
            sent = self._connection.send(self._number, left)
            left = left[sent:]
            if left:
                await self._writable()

    def close_write(self) -> None:
        """Tell the peer that nothing more will be sent."""
        if self._error is None and not self._finished:
            self._finished = True
            if self._opening:
                self._connection.send(self._number, self._opening)
                self._opening = b""
            self._connection.finish(self._number)

    def close(self) -> None:
        """Be done with the stream; what the peer still sends is passed over."""
        if self._error is None:
            self.close_write()
            self._connection.ignore(self._number)
            self._discard()
            self.fail(StreamError("the stream was closed"))

    def reset(self) -> None:
        """End the stream both ways at once, as a failure."""
        if self._error is None:
            self._connection.reset(self._number)
            self._discard()
            self.fail(StreamError("the stream was reset"))

    # --- what the connection calls -----------------------------------------------------------------------

    def received(self, data: bytes) -> bytes:
        """Take in data; return what the negotiation answers. What comes in before it is over is consumed.

        Raises:
            RemoteProtocolError, NotSupportedError: the negotiation failed; the stream is to be reset.
        """
        answer = b""
        if self._select is not None:
            answer = self._select.receive(data)
            if self._select.protocol is None:
                return answer
            self.protocol = self._select.protocol
            data = self._select.rest
            self._select = None
            self._released += len(data)
        self._buffer += data
        self._connection.holds(len(data))
        _wake(self._reading)
        return answer

    def peer_ended(self) -> None:
        """Take note that nothing more comes in."""
        self._ended = True
        _wake(self._reading)

    def writable(self) -> None:
        """Take note that the peer takes more."""
        _wake(self._writing)

    def fail(self, error: StreamError | RemoteProtocolError) -> None:
        """End the stream for whoever waits on it. What the peer sent up to its end can still be read."""
        if self._error is None:
            self._error = error
            if not self._ended:
                self._discard()
            _wake(self._reading)
            _wake(self._writing)

    # -----------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        self._release(size)
        self._released -= size
        del self._buffer[:size]
        self._connection.holds(-size)
        return data

    def _discard(self) -> None:
        self._connection.holds(-len(self._buffer))
        self._buffer.clear()

    def _release(self, size: int) -> None:
        """Let the peer send as much again as the first ``size`` bytes of the buffer are."""
        if size > self._released:
            if self._error is None:  # else the number may be another stream's by now
                self._connection.consumed(self._number, size - self._released)
            self._released = size

    async def _arrival(self) -> None:
        if self._error is not None:
            raise self._error
        self._reading = asyncio.get_running_loop().create_future()
        try:
            await self._reading
        finally:
            self._reading = None
        if self._error is not None:
            raise self._error

    async def _writable(self) -> None:
        self._writing = asyncio.get_running_loop().create_future()
        try:
            await self._writing
        finally:
            self._writing = None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
