"""The host: one node's connections to all others, and the streams on them.

    async with Host(identity, observer) as host:
        host.handle("/echo/1.0.0", echo)
        host.listen(sockets)
        stream = await host.open_stream(peer, "/echo/1.0.0")

Everything that runs for the host runs in a task group of its own, which ends with the ``async with`` block.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Protocol, Self

from daemon.libp2p import identify, ping, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.host import identification
from daemon.libp2p.host.connection import Connection
from daemon.libp2p.host.dialer import Backoff, Dialer
from daemon.libp2p.host.errors import DialError, StreamError
from daemon.libp2p.host.interfaces import announced_addresses, is_announced
from daemon.libp2p.host.limits import Admission, Limits
from daemon.libp2p.host.negotiation import Negotiation
from daemon.libp2p.host.peerstore import PeerStore
from daemon.libp2p.host.reception import Reception
from daemon.libp2p.host.roster import Roster
from daemon.libp2p.host.stream import Stream
from daemon.libp2p.host.wire import BUFFER
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.noise import Credentials
from daemon.libp2p.peer_info import PeerInfo

logger = logging.getLogger(__name__)

Handler = Callable[[Stream], Awaitable[None]]
"""Serves one stream. When it returns the stream is closed, when it raises the stream is reset."""

_PROTOCOL_VERSION = "ipfs/0.1.0"
_TICK = 1.0
_ADDRESSES_INTERVAL = 10.0
"""Seconds between two looks at the machine's own addresses."""
_IDENTIFY_PATIENCE = 10.0


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
        *,
        agent: str = "",
        limits: Limits | None = None,
        own_addresses: Callable[[int], Iterable[IPv4Address | IPv6Address]] = announced_addresses,
    ) -> None:
        """Make a host.

        Args:
            identity: who it is.
            observer: is told who comes and goes.
            agent: name and version of the program, for others to read.
            limits: what others may take up.
            own_addresses: returns, for an IP version, the machine's addresses; they stand for listening on
                all of them.
        """
        self._loop = asyncio.get_running_loop()
        self.limits = limits or Limits()
        self.peer_id = identity.peer_id
        self._identity = identity
        self._observer = observer
        self._agent = agent
        self._own_addresses = own_addresses
        self._handlers: dict[str, Handler] = {
            identify.PROTOCOL: self._answer_identify,
            identify.PUSH_PROTOCOL: self._receive_push,
            ping.PROTOCOL: identification.echo,
        }
        credentials = Credentials(identity, [yamux.PROTOCOL])
        shared = memoryview(bytearray(BUFFER))
        self._inbound = Admission(self.limits.connections, self.limits.per_address)
        self._dialer = Dialer(credentials, shared, self.limits.dial, self._establish_dialled)
        self._reception = Reception(credentials, shared, self.limits, self._inbound, self._establish_inbound)
        self._roster = Roster(self.peer_id)
        self._dials: dict[PeerId, asyncio.Future[Connection]] = {}
        self._backoff = Backoff()
        self._store = PeerStore()
        self._unread = 0
        self._addresses: tuple[Multiaddr, ...] = ()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._ticking = self._group.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reception.close()
        for connection in self._roster:
            connection.close()
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)
