"""The wire is go-libp2p-kad-dht's: the bytes below were written by it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.kademlia.key import content_key
from daemon.kademlia.message import MAX_ADDRESSES, MAX_CLOSER, MAX_PROVIDERS, Message, MessageType
from daemon.libp2p import protobuf
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo
from tests.daemon.kademlia.peers import many, peer, peers

A = PeerInfo(
    PeerId.parse("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"),
    (Multiaddr.parse("/ip4/10.1.2.3/tcp/5001"), Multiaddr.parse("/ip6/fd00::7/tcp/5001")),
)
B = PeerInfo(
    PeerId.parse("QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"),
    (Multiaddr.parse("/ip6/fd00::7/tcp/5001"),),
)
KEY = content_key("docker.io/library/alpine:3.20")

HEX_KEY = "1222122075be9c490b21b793193f47be0daf1e1ba283c3a002c8e84091e2c871cc49f219"
HEX_A = (
    "0a260024080112202ffa35a99d3a3cfbb17bb7c1dc5561b18a8dcca4df38dc613ea859c37eb1336b"
    "1208040a010203061389121429fd000000000000000000000000000007061389"
)
HEX_B_ID = "0a221220d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b"
HEX_B = HEX_B_ID + "121429fd000000000000000000000000000007061389"

GOLDEN = {
    "find node": (
        Message(MessageType.FIND_NODE, A.id.raw),
        "080412260024080112202ffa35a99d3a3cfbb17bb7c1dc5561b18a8dcca4df38dc613ea859c37eb1336b5001",
    ),
    "get providers": (Message(MessageType.GET_PROVIDERS, KEY), f"0803{HEX_KEY}5001"),
    "ping": (Message(MessageType.PING), "08055001"),
    "add provider": (
        Message(MessageType.ADD_PROVIDER, KEY, providers=(A,)),
        f"0802{HEX_KEY}4a48{HEX_A}5001",
    ),
    "providers": (
        Message(MessageType.GET_PROVIDERS, KEY, (B, A), (A,)),
        f"0803{HEX_KEY}423a{HEX_B}4248{HEX_A}4a48{HEX_A}5001",
    ),
    "a peer without addresses": (
        Message(MessageType.FIND_NODE, closer=(PeerInfo(B.id, ()),)),
        f"08044224{HEX_B_ID}5001",
    ),
}


@pytest.mark.parametrize(("message", "golden"), GOLDEN.values(), ids=GOLDEN)
def test_upstreams_bytes_are_written_and_read(message: Message, golden: str):
    assert message.encode().hex() == golden
    assert Message.decode(bytes.fromhex(golden)) == message


def test_connections_and_the_cluster_level_are_passed_over():
    connected = f"0803{HEX_KEY}423c{HEX_B}18014248{HEX_A}4a4a{HEX_A}18035008"
    assert Message.decode(bytes.fromhex(connected)) == Message(MessageType.GET_PROVIDERS, KEY, (B, A), (A,))


def test_the_record_of_a_value_is_passed_over():
    put_value = f"{HEX_KEY}1a270a22{HEX_KEY[4:]}1201765001"
    assert Message.decode(bytes.fromhex(put_value)) == Message(MessageType.PUT_VALUE, KEY)


def test_fields_in_any_order_and_unknown_ones_are_read():
    unknown = protobuf.bytes_field(77, b"?") + protobuf.varint_field(78, 1)
    data = protobuf.bytes_field(2, b"k") + unknown + protobuf.varint_field(1, 3)
    assert Message.decode(data) == Message(MessageType.GET_PROVIDERS, b"k")


def test_an_unknown_type_is_refused():
    with pytest.raises(RemoteProtocolError, match="6 is no type"):
        Message.decode(protobuf.varint_field(1, 6))


@pytest.mark.parametrize("raw_id", [b"", b"\x12\x20short", b"\x00\x01", bytes(34)])
def test_a_peer_without_a_valid_id_is_left_out(raw_id: bytes):
    data = protobuf.bytes_field(8, protobuf.bytes_field(1, raw_id)) + GOLDEN["providers"][0].encode()
    assert Message.decode(data).closer == (B, A)


def test_an_address_that_is_not_understood_is_left_out():
    fields = (
        protobuf.bytes_field(1, A.id.raw),
        protobuf.bytes_field(2, b"\xff\xff"),
        protobuf.bytes_field(2, A.addresses[0].raw),
    )
    data = protobuf.bytes_field(9, b"".join(fields))
    assert Message.decode(data).providers == (PeerInfo(A.id, A.addresses[:1]),)


def test_more_peers_than_anybody_needs_are_not_read():
    closer, providers = tuple(many(MAX_CLOSER + 5)), tuple(many(MAX_PROVIDERS + 5))
    read = Message.decode(Message(MessageType.GET_PROVIDERS, KEY, closer, providers).encode())
    assert (read.closer, read.providers) == (closer[:MAX_CLOSER], providers[:MAX_PROVIDERS])


def test_more_addresses_than_a_node_has_are_not_read():
    addresses = tuple(Multiaddr.parse(f"/ip4/10.0.0.1/tcp/{port}") for port in range(1, 60))
    data = Message(MessageType.ADD_PROVIDER, KEY, providers=(PeerInfo(A.id, addresses),)).encode()
    assert Message.decode(data).providers == (PeerInfo(A.id, addresses[:MAX_ADDRESSES]),)


def test_a_peer_with_kilobytes_of_addresses_is_left_out():
    long = protobuf.bytes_field(1, A.id.raw) + protobuf.bytes_field(2, bytes(9000))
    assert Message.decode(protobuf.bytes_field(9, long)).providers == ()


def test_equal_peers_are_one_object_so_that_thousands_of_records_need_little_memory():
    data = Message(MessageType.ADD_PROVIDER, KEY, providers=(peer(7),)).encode()
    assert Message.decode(data).providers[0] is Message.decode(data).providers[0]


messages = st.builds(
    Message,
    st.sampled_from(MessageType),
    st.binary(max_size=100),
    st.lists(peers, max_size=4).map(tuple),
    st.lists(peers, max_size=4).map(tuple),
)


@given(messages)
def test_what_is_written_is_read(message: Message):
    assert Message.decode(message.encode()) == message


@given(st.binary(max_size=300))
@example(bytes.fromhex("ffffffffffffffffffff01"))
def test_any_bytes_are_a_message_or_refused(data: bytes):
    try:
        message = Message.decode(data)
    except RemoteProtocolError:
        return
    assert Message.decode(message.encode()) == message


@given(messages, st.data())
def test_any_damage_to_a_message_is_survived(message: Message, data: st.DataObject):
    damaged = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not damaged:
            return
    try:
        Message.decode(bytes(damaged))
    except RemoteProtocolError:
        return
