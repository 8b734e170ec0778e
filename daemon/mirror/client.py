"""Asks one peer for one piece of content and keeps idle connections for the next question."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.http.response_head import HEAD_LIMIT, BadResponseError, ResponseHeadReader
from daemon.http.shares import Shares
from daemon.mirror.answer import Offer, agree
from daemon.mirror.connection import Connection, connect
from daemon.mirror.fault import Fault, PeerError
from daemon.mirror.question import compose

if TYPE_CHECKING:
    from daemon.mirror.wanted import Wanted
    from daemon.routing.base import Peer

_CONNECT_LIMIT = 0.5
"""Seconds: a node that drops packets must not cost more; the clock of a pull runs meanwhile."""
_IDLE_LIMIT = 5.0
"""Seconds that an unused connection is kept."""
_IDLE_CONNECTIONS = 16
_IDLE_CONNECTIONS_PER_PEER = 2
_PER_PEER = 64
"""Questions and transfers at once to one peer."""
_READ = 64 * 1024
_READ_WHOLE = 32 * 1024 * 1024
"""Bytes of bodies that are read whole, all together."""


@dataclass(slots=True)
class Answer:
    """A peer's answer whose head agreed with the question, its body unread; whoever has it closes it."""

    peer: Peer
    offer: Offer
    connection: Connection
    rest: bytes
    """The bytes of the body that were read already."""
    client: Client
    read: bool = False
    """Whether exactly the whole body was read."""

    async def read_all(self) -> None:
        """Read the whole body into ``rest``; raises PeerError."""
        with self.client.reading(self.offer.length):
            parts, left = [self.rest], self.offer.length - len(self.rest)
            while left > 0:
                parts.append(await self.connection.receive(min(left, _READ)))
                left -= len(parts[-1])
            self.rest = b"".join(parts)
        self.finish(surplus=left < 0)

    def finish(self, *, surplus: bool = False) -> None:
        """Note that the body was read to its end; raises PeerError when the peer sent more than it said."""
        if surplus or self.connection.peek():
            raise PeerError(Fault.LIED, "the peer sends more than it said")
        self.read = True

    def close(self) -> None:
        """Release the connection: for the next question if nothing is left in it, else for good."""
        self.client.release(self)


class Client:
    """The asking side of the mirror. Everything is bounded: time, bytes, connections."""

    def __init__(self, credentials: tuple[str, str] | None) -> None:
        """Take the credentials of the peers' basic authentication, if they want any."""
        self._credentials = credentials
        self._busy: Counter[str] = Counter()
        self._reading = 0
        self._receiving: Shares[Connection] = Shares()
        self._idle: list[tuple[float, Peer, Connection]] = []

    async def ask(self, peer: Peer, wanted: Wanted, size: int | None = None) -> Answer:
        """Ask a peer and return its answer once the head is there and agrees.

        Whoever calls bounds the time that it takes.

        Args:
            peer: whom to ask.
            wanted: what for.
            size: the size of the whole content, where another peer has told it already.

        Raises:
            PeerError: it gave no usable answer.
        """
        if self._busy[peer.id] >= _PER_PEER:
            raise PeerError(Fault.BUSY, f"{_PER_PEER} requests are under way to this peer")
        self._busy[peer.id] += 1
        try:
            idle = self._take(peer)
            if idle is not None:
                try:
                    return await self._exchange(peer, idle, wanted, size)
                except _StaleError:
                    pass
            fresh = await connect(peer.addresses, peer.registry_port, _CONNECT_LIMIT)
            return await self._exchange(peer, fresh, wanted, size)
        except BaseException:
            self._done(peer)
            raise

    @contextlib.contextmanager
    def reading(self, count: int) -> Iterator[None]:
        """Reserve memory for a body that is read whole; raises PeerError when too much is taken."""
        if self._reading + count > _READ_WHOLE:
            raise PeerError(Fault.BUSY, "too many large manifests are being read")
        self._reading += count
        try:
            yield
        finally:
            self._reading -= count

    def release(self, answer: Answer) -> None:
        """Take an answer's connection back."""
        self._done(answer.peer)
        self._receiving.leave(answer.connection)
        if answer.read and answer.offer.reusable and answer.connection.peek() is None:
            self._keep(answer.peer, answer.connection)
        else:
            answer.connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[2].close()

    async def _exchange(self, peer: Peer, connection: Connection, wanted: Wanted, size: int | None) -> Answer:
        reader = ResponseHeadReader()
        heard = False
        self._receiving.enter(connection)
        try:
            question = compose(wanted, connection.address, peer.registry_port, self._credentials)
            await connection.send(question)
            head = None
            while head is None:
                data = await connection.receive(HEAD_LIMIT)
                heard = True
                head = reader.feed(data)
            offer = agree(wanted, head, size)
        except BadResponseError as error:
            self._drop(connection)
            raise PeerError(Fault.LIED, str(error)) from error
        except PeerError as error:
            self._drop(connection)
            if not heard:
                raise _StaleError(error.fault, str(error)) from error
            raise
        except BaseException:
            self._drop(connection)
            raise
        return Answer(peer, offer, connection, reader.rest, self)

    def _drop(self, connection: Connection) -> None:
        self._receiving.leave(connection)
        connection.close()

    def _done(self, peer: Peer) -> None:
        self._busy[peer.id] -= 1
        if not self._busy[peer.id]:
            del self._busy[peer.id]

    def _take(self, peer: Peer) -> Connection | None:
        self._sweep()
        for entry in reversed(self._idle):
            if entry[1] == peer:
                self._idle.remove(entry)
                if entry[2].peek() is None:
                    return entry[2]
                entry[2].close()
        return None

    def _keep(self, peer: Peer, connection: Connection) -> None:
        self._sweep()
        connection.rest()
        same = sum(kept == peer for _, kept, _ in self._idle)
        if same < _IDLE_CONNECTIONS_PER_PEER and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append((asyncio.get_running_loop().time(), peer, connection))
        else:
            connection.close()

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and now - self._idle[0][0] > _IDLE_LIMIT:
            self._idle.pop(0)[2].close()


class _StaleError(PeerError):
    """A connection ended before any answer; one that had been idle may simply have been too old."""
