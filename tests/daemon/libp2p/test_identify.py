"""Identify messages: written, read, and read leniently where that harms nobody."""

from __future__ import annotations

import pytest

from daemon.libp2p import identify, protobuf
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import PrivateKey
from daemon.libp2p.multiaddr import Multiaddr

ADDRESS = Multiaddr.parse("/ip4/10.0.0.1/tcp/5001")
FULL = Identify(
    public_key=PrivateKey.generate().public_key,
    listen_addresses=(ADDRESS, Multiaddr.parse("/ip6/fd00::1/tcp/5001")),
    protocols=("/ipfs/id/1.0.0", "/spegel/kad/1.0.0"),
    observed_address=Multiaddr.parse("/ip4/10.0.0.2/tcp/40000"),
    protocol_version="spegel/0.1.0",
    agent_version="registry-spegel/0.1.0",
)


def test_a_message_comes_back() -> None:
    assert Identify.decode(FULL.encode()) == FULL


def test_the_fields_have_the_numbers_of_the_specification() -> None:
    numbers = [number for number, _ in protobuf.fields(FULL.encode())]
    assert numbers == [1, 2, 2, 3, 3, 4, 5, 6]


def test_what_a_push_does_not_say_is_none() -> None:
    assert Identify.decode(b"") == Identify()
    assert Identify.decode(Identify(protocols=("/a",)).encode()) == Identify(protocols=("/a",))


def test_messages_sent_in_turn_are_one() -> None:
    parts = [Identify(protocols=("/a",)), Identify(listen_addresses=(ADDRESS,)), Identify(protocols=("/b",))]
    joined = b"".join(part.encode() for part in parts)
    assert Identify.decode(joined) == Identify(listen_addresses=(ADDRESS,), protocols=("/a", "/b"))


def test_a_signed_record_and_addresses_not_understood_are_passed_over() -> None:
    message = (
        protobuf.bytes_field(8, b"\x0a\x24 an envelope")
        + protobuf.bytes_field(2, b"\xcc\x03")
        + protobuf.bytes_field(4, b"\xff")
        + FULL.encode()
    )
    assert Identify.decode(message) == FULL
    assert Identify.decode(protobuf.bytes_field(4, b"\xff")) == Identify()


def test_what_goes_beyond_the_limits_is_left_out() -> None:
    names = [f"/p/{number}" for number in range(identify.MAX_PROTOCOLS + 10)]
    addresses = [Multiaddr.parse(f"/ip4/10.0.0.1/tcp/{port}") for port in range(identify.MAX_ADDRESSES + 10)]
    long = "x" * (identify.MAX_TEXT + 1)
    message = Identify(None, tuple(addresses), (long, *names), None, long, long).encode()
    read = Identify.decode(message)
    assert read.protocols == tuple(names[: identify.MAX_PROTOCOLS])
    assert read.listen_addresses == tuple(addresses[: identify.MAX_ADDRESSES])
    assert read.agent_version is read.protocol_version is None


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        protobuf.bytes_field(1, b"no key"),
        protobuf.bytes_field(3, b"\xff"),
        protobuf.bytes_field(6, b"\xff"),
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Identify.decode(message)
