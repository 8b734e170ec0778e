"""What a node answers, by go-libp2p-kad-dht's rules."""

from __future__ import annotations

from random import Random

import pytest

from daemon.kademlia.key import content_key, position
from daemon.kademlia.message import Message, MessageType
from daemon.kademlia.parameters import K
from daemon.kademlia.provider_store import ProviderStore
from daemon.kademlia.server import Server
from daemon.kademlia.table import Table
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import many, peer

LOCAL = PeerInfo(peer(0).id, (Multiaddr.parse("/ip4/10.9.9.9/tcp/5001"),))
SENDER = peer(1)
KEY = content_key("a")


class Served:
    def __init__(self, *known: PeerInfo, provided: frozenset[bytes] = frozenset()) -> None:
        self.table = Table(LOCAL.id)
        for info in known:
            self.table.add(info, 0)
        self.store = ProviderStore(Random(1))
        self.server = Server(self.table, self.store, provided, lambda: LOCAL.addresses)

    def __call__(self, kind: MessageType, key: bytes, *providers: PeerInfo) -> Message | None:
        return self.server.answer(SENDER.id, "10.0.0.1", Message(kind, key, providers=providers), 0)


def test_find_node_tells_the_nearest_without_the_sender():
    served = Served(*many(60))
    answer = served(MessageType.FIND_NODE, KEY)
    assert answer == Message(
        MessageType.FIND_NODE, closer=tuple(served.table.nearest(position(KEY), K, without=SENDER.id))
    )
    assert len(answer.closer) == K
    assert SENDER not in answer.closer


def test_find_node_tells_this_node_first_when_it_is_looked_for():
    answer = Served(*many(60))(MessageType.FIND_NODE, LOCAL.id.raw)
    assert answer is not None
    assert answer.closer[0] == LOCAL
    assert len(answer.closer) == K + 1


def test_find_node_tells_a_sender_its_own_addresses_when_it_looks_for_itself():
    answer = Served(*many(3))(MessageType.FIND_NODE, SENDER.id.raw)
    assert answer is not None
    assert answer.closer[0] == SENDER


def test_find_node_leaves_out_peers_without_addresses():
    answer = Served(peer(2, None), peer(3))(MessageType.FIND_NODE, KEY)
    assert answer == Message(MessageType.FIND_NODE, closer=(peer(3),))


def test_get_providers_tells_providers_and_nearest():
    served = Served(*many(3))
    served.store.add(KEY, peer(7), 0, "10.0.0.7")
    answer = served(MessageType.GET_PROVIDERS, KEY)
    assert answer is not None
    assert (answer.type, answer.key, answer.providers) == (MessageType.GET_PROVIDERS, KEY, (peer(7),))
    assert set(answer.closer) == {peer(2), peer(3)}


def test_get_providers_tells_what_this_node_provides_itself():
    answer = Served(provided=frozenset([KEY]))(MessageType.GET_PROVIDERS, KEY)
    assert answer == Message(MessageType.GET_PROVIDERS, KEY, providers=(LOCAL,))


def test_add_provider_has_no_answer():
    served = Served()
    assert served(MessageType.ADD_PROVIDER, KEY, SENDER) is None
    assert served.store.get(KEY, 0) == [SENDER]


def test_a_provider_is_believed_only_for_itself():
    served = Served()
    with pytest.raises(RemoteProtocolError, match="another peer than its sender"):
        served(MessageType.ADD_PROVIDER, KEY, peer(2))
    served(MessageType.ADD_PROVIDER, KEY, peer(2), SENDER, peer(3))
    assert served.store.get(KEY, 0) == [SENDER]


def test_a_provider_without_addresses_is_refused():
    served = Served()
    with pytest.raises(RemoteProtocolError, match="no address"):
        served(MessageType.ADD_PROVIDER, KEY, PeerInfo(SENDER.id, ()))
    assert len(served.store) == 0


def test_ping_is_echoed_without_peers():
    request = Message(MessageType.PING, b"any", closer=(peer(5),), providers=(peer(6),))
    assert Served().server.answer(SENDER.id, "10.0.0.1", request, 0) == Message(MessageType.PING, b"any")


@pytest.mark.parametrize("kind", [MessageType.GET_VALUE, MessageType.PUT_VALUE])
def test_values_are_not_served(kind: MessageType):
    with pytest.raises(RemoteProtocolError, match=f"{kind.name} is not served"):
        Served()(kind, KEY)


@pytest.mark.parametrize("key", [b"", bytes(81)])
@pytest.mark.parametrize("kind", [MessageType.FIND_NODE, MessageType.GET_PROVIDERS, MessageType.ADD_PROVIDER])
def test_keys_have_1_to_80_bytes(kind: MessageType, key: bytes):
    served = Served()
    with pytest.raises(RemoteProtocolError, match="1 to 80 bytes"):
        served(kind, key, SENDER)
    served(kind, bytes(80), SENDER)
