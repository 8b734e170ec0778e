"""The router of a cluster: a node of the DHT on a libp2p host, wire-compatible with upstream Spegel."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from daemon.bootstrap import Bootstrap, Source
from daemon.bootstrap.id_server import IdServer
from daemon.kademlia.key import content_key
from daemon.kademlia.node import Node
from daemon.kademlia.parameters import PROTOCOL
from daemon.libp2p.host import Host, Limits
from daemon.libp2p.host.interfaces import announced_addresses
from daemon.libp2p.identity import PeerId, PrivateKey
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from daemon.routing.base import Peer
from daemon.routing.dht_network import DhtNetwork
from daemon.routing.lookups import Lookups

if TYPE_CHECKING:
    from prometheus_client import Histogram


class Libp2pRouter:
    """Implements `daemon.routing.base.Router`. Made on the event loop; takes part once ``run`` runs."""

    def __init__(
        self,
        identity: PrivateKey,
        listeners: Sequence[socket.socket],
        source: Source,
        registry_port: int,
        resolve_duration: Histogram | None = None,
        *,
        id_address: str = "",
        agent: str = "spegel",
        limits: Limits | None = None,
        own_addresses: Callable[[int], Iterable[IPv4Address | IPv6Address]] = announced_addresses,
    ) -> None:
        """Prepare a node.

        Args:
            identity: who it is.
            listeners: listening TCP sockets, all with the same port; closed when ``run`` ends.
            source: where its first peers are found.
            registry_port: of all nodes' registries; the DHT does not tell, so all have the same.
            resolve_duration: takes the seconds until a lookup found its first peer, label ``router``.
            id_address: where to serve this node's ID and addresses over HTTP; empty: nowhere.
            agent: name and version of the program.
            limits: what others may take up.
            own_addresses: see `Host`.

        Raises:
            ListenError: ``id_address`` cannot be listened on.
        """
        self._host = Host(identity, self, listeners, agent=agent, limits=limits, own_addresses=own_addresses)
        network = DhtNetwork(self._host)
        self._node = Node(identity.peer_id, network)
        network.serve(self._node.answer)
        port = listeners[0].getsockname()[1]
        self._bootstrap = Bootstrap(source, self._host, port, lambda: self._node.connected)
        self._registry_port = registry_port
        self._lookups = Lookups(self._known, self._find, self._timed)
        self._resolve_duration = resolve_duration
        self._id_server = IdServer(id_address, self.info) if id_address else None

    def info(self) -> PeerInfo:
        """Return this node's ID and addresses."""
        return PeerInfo(self._host.peer_id, self._host.addresses())

    @property
    def id(self) -> str:
        """This node's peer ID, in base58."""
        return str(self._host.peer_id)

    async def ready(self) -> bool:
        """Tell whether other nodes have answered and still do."""
        return self._node.connected

    def lookup(self, key: str, count: int) -> AsyncGenerator[Peer, None]:
        """Yield up to ``count`` other nodes that provide what is under a key, as they are found."""
        return self._lookups.look_up(key, count)

    async def advertise(self, keys: Iterable[str]) -> None:
        """Provide what is under keys until it is withdrawn; others are told at once, and again in time."""
        self._node.provide(map(content_key, keys))

    async def withdraw(self, keys: Iterable[str]) -> None:
        """Stop providing; what others were told expires."""
        self._node.withdraw(map(content_key, keys))

    @property
    def known(self) -> int:
        """How many nodes are in the routing table."""
        return len(self._node.table)

    async def peers(self) -> Sequence[Peer]:
        """Return the nodes in the routing table."""
        return [self._peer(info) for info in self._node.table]

    def addresses(self) -> Sequence[str]:
        """Return where this node listens, with its ID."""
        return [str(address.with_peer_id(self._host.peer_id)) for address in self._host.addresses()]

    async def run(self) -> None:
        """Take part in the network until cancelled."""
        async with self._host, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._node.run())
            tasks.create_task(self._bootstrap.run())
            if self._id_server is not None:
                tasks.create_task(self._id_server.run())

    def identified(self, peer: PeerInfo, protocols: Sequence[str]) -> None:
        """Tell the DHT of a connected peer."""
        if PROTOCOL in protocols:
            self._node.found(peer)
        else:
            self._node.gone(peer.id)

    def gone(self, peer: PeerId) -> None:
        """Tell the DHT; a peer without connection is not lost until it does not answer."""
        self._node.disconnected(peer)

    def _known(self, key: str, count: int) -> list[Peer]:
        peers = map(self._peer, self._node.known_providers(content_key(key))[:count])
        return [peer for peer in peers if peer.addresses]

    def _find(self, key: str, count: int, found: Callable[[Peer], None]) -> asyncio.Future[None]:
        def take(info: PeerInfo) -> None:
            peer = self._peer(info)
            if peer.addresses:
                found(peer)

        return self._node.find_providers(content_key(key), count, take)

    def _timed(self, seconds: float) -> None:
        if self._resolve_duration is not None:
            self._resolve_duration.labels("libp2p").observe(seconds)

    def _peer(self, info: PeerInfo) -> Peer:
        remote, own = self._host.remote_ip(info.id), self._host.addresses()
        return _reached(info, remote, own, self._registry_port)


@functools.lru_cache(maxsize=256)  # else it is most of the time that a lookup takes which asks nobody
def _reached(
    info: PeerInfo,
    remote: str | None,
    own: tuple[Multiaddr, ...],
    registry_port: int,
) -> Peer:
    """Return how a peer's registry is reached; first of all, at the other end of its connection."""
    named = (address.ip for address in info.addresses if address.ip and address not in own)
    addresses = dict.fromkeys([ip_address(remote), *named] if remote else named)
    return Peer(str(info.id), tuple(addresses), registry_port)
