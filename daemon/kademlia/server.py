"""What a node answers to others. The rules are go-libp2p-kad-dht's."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from daemon.kademlia.key import MAX_KEY, position
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import K
from daemon.kademlia.provider_store import ProviderStore
from daemon.kademlia.table import Table
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identity import InvalidPeerIdError, PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo


class Server:
    """Answers requests from the routing table, the provider store and the keys that the node provides."""

    def __init__(
        self,
        table: Table,
        store: ProviderStore,
        provided: Container[bytes],
        addresses: Callable[[], Sequence[Multiaddr]],
    ) -> None:
        self._table = table
        self._store = store
        self._provided = provided
        self._addresses = addresses

    def answer(self, sender: PeerId, address: str, request: Message, now: float) -> Message | None:
        """Return the answer to a request; None when it has none.

        Args:
            sender: who asks.
            address: the IP address that it asks from.
            request: what it asks.
            now: the time.

        Raises:
            RemoteProtocolError: it is malformed, or of a kind that is not served; the stream is to be reset.
        """
        match request.type:
            case MessageType.FIND_NODE:
                return self._find_node(sender, request)
            case MessageType.GET_PROVIDERS:
                return self._get_providers(sender, request, now)
            case MessageType.ADD_PROVIDER:
                self._add_provider(sender, address, request, now)
                return None
            case MessageType.PING:
                return Message(MessageType.PING, request.key)
        raise RemoteProtocolError(f"{request.type.name} is not served: nothing but providers is kept here")

    def _find_node(self, sender: PeerId, request: Message) -> Message:
        key = _checked(request.key)
        closer = self._table.nearest(position(key), K, without=sender)
        # The peer that is looked for stands first, though it were this node or the sender.
        if not closer or closer[0].id.raw != key:
            target = self._known(key)
            closer = [target, *closer] if target else closer
        return Message(MessageType.FIND_NODE, closer=tuple(peer for peer in closer if peer.addresses))

    def _get_providers(self, sender: PeerId, request: Message, now: float) -> Message:
        key = _checked(request.key)
        providers = self._store.get(key, now)
        if key in self._provided:
            providers.insert(0, self._self())
        return Message(
            MessageType.GET_PROVIDERS,
            key,
            tuple(self._table.nearest(position(key), K, without=sender)),
            tuple(providers),
        )

    def _add_provider(self, sender: PeerId, address: str, request: Message, now: float) -> None:
        key = _checked(request.key)
        own = [peer for peer in request.providers if peer.id == sender and peer.addresses]
        if not own:
            raise RemoteProtocolError(
                "a provider record is for another peer than its sender, or has no address"
            )
        self._store.add(key, own[0], now, address)

    def _known(self, key: bytes) -> PeerInfo | None:
        if key == self._table.local.raw:
            return self._self()
        try:
            return self._table.get(PeerId(key))
        except InvalidPeerIdError:
            return None

    def _self(self) -> PeerInfo:
        return PeerInfo(self._table.local, tuple(self._addresses()))


def _checked(key: bytes) -> bytes:
    if not 0 < len(key) <= MAX_KEY:
        raise RemoteProtocolError(f"a key has 1 to {MAX_KEY} bytes, not {len(key)}")
    return key
