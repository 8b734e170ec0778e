"""Arbitrary bytes, to everything that reads them: they make sense, or the sender broke the rules.

No other error gets out, and what is kept in memory does not outgrow what came in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.libp2p import base58, noise, protobuf, varint, yamux
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identify import Identify
from daemon.libp2p.identity import InvalidPeerIdError, PeerId, PrivateKey, PublicKey
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr
from daemon.libp2p.multistream import Initiator, NotSupportedError, Responder
from daemon.libp2p.noise_xx import CipherState
from daemon.libp2p.ping import Echo, Pinger

KEY = PrivateKey.generate()
CREDENTIALS = noise.Credentials(KEY)

messages = st.recursive(
    st.binary(max_size=40),
    lambda inner: st.lists(
        st.builds(protobuf.bytes_field, st.integers(1, 10), inner)
        | st.builds(protobuf.varint_field, st.integers(1, 10), st.integers(0, 2**63 - 1)),
        max_size=5,
    ).map(b"".join),
    max_leaves=8,
)
frames = st.lists(
    st.builds(
        lambda kind, flags, stream, length, body: yamux.frames.header(kind, flags, stream, length) + body,
        st.integers(0, 3),
        st.integers(0, 15),
        st.integers(0, 5),
        st.integers(0, 40) | st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
    ),
    max_size=8,
).map(b"".join)
garbage = st.binary(max_size=300)
pieces = st.lists(garbage | frames, max_size=5)


@pytest.mark.parametrize(
    "decode",
    [
        varint.decode,
        lambda data: list(protobuf.fields(data)),
        PublicKey.decode,
        PrivateKey.decode,
        Identify.decode,
    ],
    ids=["varint", "protobuf", "public key", "private key", "identify"],
)
@given(data=garbage | messages)
def test_messages(decode: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode(data)


@given(garbage)
def test_addresses_and_ids(data: bytes) -> None:
    for make, error in ((Multiaddr, InvalidMultiaddrError), (PeerId, InvalidPeerIdError)):
        try:
            made = make(data)
        except error:
            continue
        assert type(made).parse(str(made)) == made or isinstance(made, PeerId)


@given(st.text(max_size=200))
@example("/" * 100_000)
@example("/dns4" * 50_000)
@example("k" + "z" * 100_000)
@example("b" + "a" * 100_000)
@example("1" * 100_000)
@example("/p2p/" + "1" * 100_000)
def test_texts(text: str) -> None:
    for parse, error in (
        (Multiaddr.parse, InvalidMultiaddrError),
        (PeerId.parse, InvalidPeerIdError),
        (base58.decode, ValueError),
    ):
        with contextlib.suppress(error):
            parse(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Initiator(["/a", "/b"]).receive,
        lambda: Responder({"/a"}).receive,
        lambda: noise.Handshake(CREDENTIALS, initiator=False).receive,
        lambda: noise.Transport(CipherState(bytes(32)), CipherState(bytes(32))).receive,
        lambda: yamux.Session(client=False).receive,
        lambda: Pinger().receive,
        lambda: Echo().receive,
    ],
    ids=["initiator", "responder", "handshake", "transport", "yamux", "pinger", "echo"],
)
@given(pieces=pieces)
@example(pieces=[b"\x13/multistream/1.0.0\n", b"\x03ls\n" * 20])
def test_machines(make: Callable[[], Callable[[bytes], object]], pieces: list[bytes]) -> None:
    receive = make()
    with contextlib.suppress(RemoteProtocolError, NotSupportedError):
        for piece in pieces:
            receive(piece)


@given(pieces)
def test_a_dialling_handshake(pieces: list[bytes]) -> None:
    handshake = noise.Handshake(CREDENTIALS, initiator=True)
    handshake.start()
    with contextlib.suppress(RemoteProtocolError):
        for piece in pieces:
            handshake.receive(piece)


@given(st.lists(frames, max_size=20), st.booleans())
def test_what_a_session_keeps_and_sends_is_bounded(received: list[bytes], consuming: bool) -> None:
    session = yamux.Session(client=False, limits=yamux.Limits(inbound_streams=2, backlog=2, unread=60))
    incoming = output = 0
    unread: dict[int, int] = {}
    for piece in received:
        incoming += len(piece)
        try:
            events = session.receive(piece)
        except RemoteProtocolError:
            return
        for event in events:
            if isinstance(event, yamux.DataReceived):
                unread[event.stream_id] = unread.get(event.stream_id, 0) + len(event.data)
            elif isinstance(event, yamux.StreamReset):
                unread.pop(event.stream_id, None)
        assert sum(unread.values()) <= 60
        if consuming:
            for stream_id, size in unread.items():
                session.consumed(stream_id, size)
            unread.clear()
        output += sum(map(len, session.take_output()))
        assert session.streams <= 2
        assert output <= incoming
