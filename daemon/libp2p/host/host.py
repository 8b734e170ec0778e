"""The host: one node's connections to all others, and the streams on them.

    host = Host(identity, observer, listeners)
    host.handle("/echo/1.0.0", echo)
    async with host:
        stream = await host.open_stream(peer, "/echo/1.0.0")

Everything that runs for the host runs in a task group of its own, which ends with the ``async with`` block.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from daemon.libp2p import identify, ping, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import identification
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.dialer import Dialer
from daemon.libp2p.host.dials import Dials
from daemon.libp2p.host.errors import DialError, SelfDialError, StreamError
from daemon.libp2p.host.hearsay import Hearsay
from daemon.libp2p.host.interfaces import IpAddress, announced_addresses, loopback_addresses
from daemon.libp2p.host.introductions import Introductions
from daemon.libp2p.host.limits import Admission, Limits
from daemon.libp2p.host.negotiation import Negotiation
from daemon.libp2p.host.reception import Reception
from daemon.libp2p.host.roster import Roster
from daemon.libp2p.host.stream import Stream
from daemon.libp2p.host.wire import BUFFER
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.noise import Credentials
from daemon.libp2p.peer_info import PeerInfo

logger = logging.getLogger(__name__)

Handler = Callable[[Stream], Awaitable[None]]
"""Serves one stream. When it returns the stream is closed, when it raises the stream is reset."""

_TICK = 1.0
_ADDRESSES_INTERVAL = 10.0
"""Seconds between two looks at the machine's own addresses."""


class Observer(Protocol):
    """Is told who comes and goes."""

    def identified(self, peer: PeerInfo, protocols: Sequence[str]) -> None:
        """A connected peer said, for the first time or anew, where it listens and what it speaks."""

    def gone(self, peer: PeerId) -> None:
        """The last connection to a peer ended."""


class Host:
    """A libp2p node. Made on the event loop; does nothing before it is entered."""

    def __init__(
        self,
        identity: PrivateKey,
        observer: Observer,
        listeners: Sequence[socket.socket] = (),
        *,
        agent: str = "",
        limits: Limits | None = None,
        own_addresses: Callable[[int], Iterable[IpAddress]] = announced_addresses,
    ) -> None:
        """Make a host.

        Args:
            identity: who it is.
            observer: is told who comes and goes.
            listeners: listening TCP sockets, which are closed when the host is left.
            agent: name and version of the program, for others to read.
            limits: what others may take up.
            own_addresses: returns, for an IP version, the machine's addresses; they stand for listening on
                all of them.
        """
        self._loop = asyncio.get_running_loop()
        self.limits = limits or Limits()
        self.peer_id = identity.peer_id
        self._observer = observer
        self._handlers: dict[str, Handler] = {}
        self._introductions = Introductions(
            identity.public_key,
            self._handlers.keys(),
            listeners,
            own_addresses,
            self._introduced,
            agent=agent,
        )
        self.handle(identify.PROTOCOL, self._introductions.answer)
        self.handle(identify.PUSH_PROTOCOL, self._introductions.take)
        self.handle(ping.PROTOCOL, identification.echo)
        credentials = Credentials(identity, [yamux.PROTOCOL])
        shared = memoryview(bytearray(BUFFER))
        self._inbound = Admission(self.limits.connections, self.limits.per_address)
        self._dialer = Dialer(
            credentials, shared, self.limits.dial, self._establish_dialled, loopback_addresses(listeners)
        )
        self._reception = Reception(credentials, shared, self.limits, self._inbound, self._establish_inbound)
        self._roster = Roster(self.peer_id)
        self._dials = Dials(self._dial, self.limits.dials, self._spawn)
        self._held = 0
        self._listeners = listeners
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._reception.listen(self._listeners)
        self._spawn(self._tick_for_ever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        self._reception.close()
        for connection in self._roster:
            connection.close()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)  # what the block raised goes on as it is

    # --- for whoever speaks protocols ----------------------------------------------------------------------

    def handle(self, protocol: str, handler: Handler) -> None:
        """Serve streams that peers open for a protocol."""
        self._handlers[protocol] = handler

    def addresses(self) -> tuple[Multiaddr, ...]:
        """Return where this host listens, as it is announced to others, without its ID."""
        return self._introductions.addresses

    @property
    def hearsay(self) -> Hearsay:
        """Which addresses to believe that others name."""
        return self._introductions.hearsay

    def peers(self) -> list[PeerId]:
        """Return who is connected."""
        return self._roster.peers()

    def known_addresses(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """Return where a peer is believed to listen."""
        return self._introductions.known(peer)

    def remote_ip(self, peer: PeerId) -> str | None:
        """Return the address of a connected peer at the other end of its connection, as text."""
        connection = self._roster.best(peer)
        return connection.remote[0] if connection is not None else None

    async def connect(self, peer: PeerInfo) -> None:
        """See that there is a connection to a peer.

        Raises:
            DialError: the peer cannot be reached, or could not a moment ago.
        """
        await self._connected(peer)

    async def connect_to_unknown(self, addresses: Sequence[Multiaddr]) -> PeerId:
        """Connect to whoever listens at one of some addresses, and return who that is.

        Raises:
            DialError: nobody does, or this host itself.
        """
        connection = await self._dialer.dial(addresses)
        return connection.peer_id

    async def open_stream(self, peer: PeerInfo, protocol: str) -> Stream:
        """Open a stream to a peer, over the connection that there is or a new one.

        The peer learns of it with the first bytes written; that it does not speak the protocol shows when the
        stream is read.

        Raises:
            DialError: the peer cannot be reached.
            StreamError: it has too many streams open.
        """
        connection = await self._connected(peer)
        return connection.open_stream(protocol)

    async def ping(self, peer: PeerInfo) -> float:
        """Return the seconds that a peer takes to answer.

        Raises:
            DialError, StreamError, RemoteProtocolError: it does not.
        """
        stream = await self.open_stream(peer, ping.PROTOCOL)
        started = self._loop.time()
        try:
            await identification.measure(stream)
        finally:
            stream.close()
        return self._loop.time() - started

    # --- what connections call -----------------------------------------------------------------------------

    @property
    def protocols(self) -> Collection[str]:
        """What this host speaks."""
        return self._handlers.keys()

    def serve(self, stream: Stream) -> None:
        """Let the handler of a stream's protocol run."""
        self._spawn(self._serve(stream, self._handlers[str(stream.protocol)]))

    def ended(self, connection: Connection, reason: str) -> None:
        """Forget a connection."""
        logger.debug("connection to %s ended: %s", connection.peer_id, reason)
        if not connection.dialled:
            self._inbound.leave(connection.remote[0])
        if self._roster.remove(connection):
            self._introductions.renew(connection.peer_id)
            self._observer.gone(connection.peer_id)

    def holds(self, size: int) -> None:
        """Count bytes that peers take up; cut off the one with the most when there are too many."""
        self._held += size
        if self._held > self.limits.held:
            max(self._roster, key=lambda connection: connection.held).abort("peers take up too much memory")

    # --- connections ---------------------------------------------------------------------------------------

    async def _connected(self, peer: PeerInfo) -> Connection:
        return self._roster.best(peer.id) or await self._dials.share(peer)

    async def _dial(self, peer: PeerInfo) -> Connection:
        """Dial a peer where it has said itself that it is, and then where it is said to be."""
        named = (*self.known_addresses(peer.id), *peer.addresses)
        return await self._dialer.dial([one for one in named if one not in self.addresses()], peer.id)

    def _establish_dialled(self, negotiation: Negotiation) -> Connection:
        return self._establish(negotiation, dialled=True)

    def _establish_inbound(self, negotiation: Negotiation) -> None:
        address = negotiation.wire.remote[0]
        if not self._inbound.enter(address):
            negotiation.wire.abort()
            return
        try:
            self._establish(negotiation, dialled=False)
        except DialError as error:
            self._inbound.leave(address)
            logger.debug("%s: %s", address, error)

    def _establish(self, negotiation: Negotiation, *, dialled: bool) -> Connection:
        secured = negotiation.secured
        if self._closed:
            negotiation.wire.abort()
            raise DialError("the host is closed")
        if secured.peer_id == self.peer_id:
            negotiation.wire.abort()
            raise SelfDialError
        connection = Connection(negotiation.wire, secured, self, dialled=dialled)
        self._roster.add(connection)
        self._dials.met(connection)
        connection.start(negotiation.rest)
        self._spawn(self._introductions.ask(connection))
        if len(self._roster) > self.limits.connections:
            self._make_room(connection)
        return connection

    def _make_room(self, newcomer: Connection) -> None:
        """Close another connection: of the address with the most, and of these that idle for longest."""
        now = self._loop.time()
        crowds = Counter(connection.remote[0] for connection in self._roster)

        def weight(connection: Connection) -> tuple[int, float]:
            return crowds[connection.remote[0]], now - (connection.idle_since or now)

        max((one for one in self._roster if one is not newcomer), key=weight).close()

    async def _tick_for_ever(self) -> None:
        look = self._loop.time()
        while True:
            await asyncio.sleep(_TICK)
            now = self._loop.time()
            for connection in self._roster:
                connection.tick(now)
                patience = self.limits.grace if connection.retired else self.limits.idle
                if connection.idle_since is not None and now - connection.idle_since > patience:
                    connection.close()
            if now - look >= _ADDRESSES_INTERVAL:
                look = now
                self._check_addresses()

    def _introduced(self, peer: PeerId, protocols: Sequence[str]) -> None:
        if self._roster.best(peer) is not None:
            self._observer.identified(PeerInfo(peer, self.known_addresses(peer)), protocols)

    def _check_addresses(self) -> None:
        """Tell all peers when the machine's addresses are others than before."""
        if self._introductions.look():
            told = [str(address) for address in self.addresses()]
            logger.info("the addresses changed", extra={"addresses": told})
            for peer in self._roster.peers():
                if (connection := self._roster.best(peer)) is not None:
                    self._spawn(self._introductions.push(connection))

    # -------------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Stream, handler: Handler) -> None:
        try:
            await handler(stream)
            stream.close()
        except (StreamError, RemoteProtocolError) as error:
            logger.debug("%s for %s: %s", stream.protocol, stream.peer_id, error)
            stream.reset()
        except Exception:
            logger.exception("%s for %s failed", stream.protocol, stream.peer_id)
            stream.reset()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        if self._closed:
            work.close()
            return None
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
