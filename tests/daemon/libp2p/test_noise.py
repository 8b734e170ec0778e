"""Secure channels: who may be on the other end, and that nothing but their words comes through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.libp2p import protobuf
from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.identity import KeyType, PeerId, PrivateKey, PublicKey
from daemon.libp2p.noise import (
    Credentials,
    Handshake,
    IdentityError,
    NoCommonMuxerError,
    PeerMismatchError,
    Secured,
    Transport,
)
from daemon.libp2p.noise_xx import MAX_MESSAGE, TAG, CipherState, DecryptionError, NonceExhaustedError

YAMUX, MPLEX = "/yamux/1.0.0", "/mplex/6.7.0"
MAX_PLAINTEXT = MAX_MESSAGE - TAG

ALICE, BOB, EVE = PrivateKey.generate(), PrivateKey.generate(), PrivateKey.generate()


def handshake(
    dialler: Credentials, listener: Credentials, expected: PeerId | None = None
) -> tuple[Secured, Secured]:
    initiator = Handshake(dialler, initiator=True, expected=expected)
    responder = Handshake(listener, initiator=False)
    responder.receive(initiator.receive(responder.receive(initiator.start())))
    assert initiator.secured is not None
    assert responder.secured is not None
    return initiator.secured, responder.secured


def channel() -> tuple[Transport, Transport]:
    one, other = handshake(Credentials(ALICE), Credentials(BOB))
    return one.transport, other.transport


def forged(key: PublicKey | None, signature: bytes) -> Credentials:
    """Credentials that show a key and a signature which do not belong to the Noise key."""
    credentials = Credentials(EVE)
    credentials.payload = (protobuf.bytes_field(1, key.encode()) if key else b"") + protobuf.bytes_field(
        2, signature
    )
    return credentials


class TestHandshake:
    def test_both_sides_know_who_the_other_is(self) -> None:
        at_alice, at_bob = handshake(Credentials(ALICE), Credentials(BOB), expected=BOB.peer_id)
        assert at_alice.peer_id == BOB.peer_id
        assert at_bob.peer_id == ALICE.peer_id
        assert at_alice.public_key == BOB.public_key
        assert at_alice.muxer is at_bob.muxer is None

    def test_the_messages_are_framed_and_of_the_patterns_size(self) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        responder = Handshake(Credentials(BOB), initiator=False)
        assert responder.start() == b""
        first = initiator.start()
        second = responder.receive(first)
        third = initiator.receive(second)
        payload = len(Credentials(ALICE).payload)
        sizes = [32, 32 + 32 + TAG + payload + TAG, 32 + TAG + payload + TAG]
        assert [len(message) for message in (first, second, third)] == [size + 2 for size in sizes]
        assert [int.from_bytes(message[:2]) for message in (first, second, third)] == sizes

    @pytest.mark.parametrize(
        ("dialler", "listener", "agreed"),
        [
            ([YAMUX], [YAMUX], YAMUX),
            ([YAMUX, MPLEX], [MPLEX, YAMUX], YAMUX),  # the dialler's wish counts
            ([MPLEX, YAMUX], [YAMUX], YAMUX),
            ([YAMUX], [], None),  # a peer that does not know this extension
            ([], [YAMUX], None),
        ],
    )
    def test_the_multiplexer_is_agreed_on_early(
        self, dialler: list[str], listener: list[str], agreed: str | None
    ) -> None:
        at_alice, at_bob = handshake(Credentials(ALICE, dialler), Credentials(BOB, listener))
        assert at_alice.muxer == at_bob.muxer == agreed

    def test_without_a_multiplexer_in_common_it_fails(self) -> None:
        with pytest.raises(NoCommonMuxerError):
            handshake(Credentials(ALICE, [YAMUX]), Credentials(BOB, [MPLEX]))

    def test_unknown_extensions_are_passed_over(self) -> None:
        credentials = Credentials(BOB)
        certhash = protobuf.bytes_field(1, b"\x12\x20" + bytes(32))
        credentials.payload += protobuf.bytes_field(4, certhash) + protobuf.bytes_field(1025, b"experiment")
        at_alice, _ = handshake(Credentials(ALICE, [YAMUX]), credentials)
        assert at_alice.peer_id == BOB.peer_id

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_splits_do_not_matter_and_what_comes_behind_is_kept(self, data: st.DataObject) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        responder = Handshake(Credentials(BOB), initiator=False)
        there, back = initiator.start(), b""
        while initiator.secured is None:
            size = data.draw(st.integers(1, len(there) or len(back)))
            if there:
                back += responder.receive(there[:size])
                there = there[size:]
            else:
                there += initiator.receive(back[:size])
                back = back[size:]
        there += initiator.secured.transport.encrypt(b"hello")
        while responder.secured is None:
            size = data.draw(st.integers(1, len(there)))
            responder.receive(there[:size])
            there = there[size:]
        assert b"".join(responder.secured.transport.receive(responder.rest + there)) == b"hello"

    def test_it_is_not_fed_what_is_the_transports(self) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        responder = Handshake(Credentials(BOB), initiator=False)
        initiator.receive(responder.receive(initiator.start()))
        with pytest.raises(LocalProtocolError):
            initiator.receive(b"x")


class TestImpostors:
    def test_another_peer_than_expected_is_named_with_its_proven_id(self) -> None:
        with pytest.raises(PeerMismatchError) as caught:
            handshake(Credentials(ALICE), Credentials(EVE), expected=BOB.peer_id)
        assert caught.value.expected == BOB.peer_id
        assert caught.value.actual == EVE.peer_id
        assert str(EVE.peer_id) in str(caught.value)

    def test_an_expected_peer_of_another_key_type_is_not_there(self) -> None:
        rsa = PeerId.parse("QmRsooYQasV5f5r834NSpdUtmejdQcpxXkK6qsozZWEihC")
        with pytest.raises(PeerMismatchError):
            handshake(Credentials(ALICE), Credentials(BOB), expected=rsa)

    def test_a_signature_by_another_identity_proves_nothing(self) -> None:
        signed = b"noise-libp2p-static-key:" + Credentials(EVE).static.public_key().public_bytes_raw()
        for credentials in (
            forged(BOB.public_key, EVE.sign(signed)),
            forged(BOB.public_key, BOB.sign(signed)),
        ):
            with pytest.raises(IdentityError, match="vouch"):
                handshake(Credentials(ALICE), credentials)
            with pytest.raises(IdentityError, match="vouch"):
                handshake(credentials, Credentials(ALICE))

    def test_an_impostor_is_not_taken_for_the_peer_it_claims_to_be(self) -> None:
        """The claimed ID is told only when it is proven, so nobody can plant one."""
        with pytest.raises(IdentityError):
            handshake(Credentials(ALICE), forged(EVE.public_key, bytes(64)), expected=BOB.peer_id)

    def test_bobs_payload_does_not_serve_eve(self) -> None:
        credentials = Credentials(EVE)
        credentials.payload = Credentials(BOB).payload
        with pytest.raises(IdentityError, match="vouch"):
            handshake(Credentials(ALICE), credentials)

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            (None, "type and data"),
            (PublicKey(KeyType.RSA, b"der"), "RSA"),
            (PublicKey(KeyType.ECDSA, b"der"), "ECDSA"),
        ],
    )
    def test_identities_that_cannot_be_checked_are_refused(self, key: PublicKey | None, why: str) -> None:
        with pytest.raises(IdentityError, match=why):
            handshake(Credentials(ALICE), forged(key, bytes(64)))

    @pytest.mark.parametrize("payload", [b"", b"\x0a\xff", b"\x0a\x01", b"\xff" * 60, bytes(60)])
    def test_malformed_payloads_are_refused(self, payload: bytes) -> None:
        credentials = Credentials(BOB)
        credentials.payload = payload
        with pytest.raises(IdentityError):
            handshake(Credentials(ALICE), credentials)
        with pytest.raises(IdentityError):
            handshake(credentials, Credentials(ALICE))

    def test_malformed_extensions_are_refused(self) -> None:
        credentials = Credentials(BOB)
        credentials.payload += protobuf.bytes_field(4, b"\x12\xff")
        with pytest.raises(RemoteProtocolError):
            handshake(Credentials(ALICE), credentials)

    def test_a_replayed_handshake_leads_nowhere(self) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        responder = Handshake(Credentials(BOB), initiator=False)
        first = initiator.start()
        second = responder.receive(first)
        third = initiator.receive(second)
        listener = Handshake(Credentials(BOB), initiator=False)
        listener.receive(first)
        with pytest.raises(DecryptionError):
            listener.receive(third)
        dialler = Handshake(Credentials(ALICE), initiator=True)
        dialler.start()
        with pytest.raises(DecryptionError):
            dialler.receive(second)

    @pytest.mark.parametrize("position", range(0, 200, 20))
    def test_a_bit_changed_on_the_way_is_noticed(self, position: int) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        responder = Handshake(Credentials(BOB), initiator=False)
        second = bytearray(responder.receive(initiator.start()))
        second[2 + position] ^= 0x10
        with pytest.raises(RemoteProtocolError):
            initiator.receive(bytes(second))

    def test_the_initiators_own_message_does_not_pass_for_an_answer(self) -> None:
        initiator = Handshake(Credentials(ALICE), initiator=True)
        with pytest.raises(RemoteProtocolError):
            initiator.receive(initiator.start())

    def test_an_oversized_message_is_refused_before_it_is_read(self) -> None:
        responder = Handshake(Credentials(BOB), initiator=False)
        with pytest.raises(RemoteProtocolError, match="65535 bytes"):
            responder.receive(b"\xff\xff")

    @pytest.mark.parametrize("message", [b"\0\0", b"\0\x1f" + bytes(31), b"\0\x20" + bytes(32)])
    def test_first_messages_without_a_good_key_are_refused(self, message: bytes) -> None:
        with pytest.raises(RemoteProtocolError):
            Handshake(Credentials(BOB), initiator=False).receive(message)


class TestTransport:
    def test_large_data_takes_as_few_messages_as_it_can(self) -> None:
        one, other = channel()
        plaintext = bytes(range(256)) * 1024
        sent = one.encrypt(plaintext)
        assert len(sent) == len(plaintext) + 5 * (2 + TAG)
        received = other.receive(sent)
        assert [len(part) for part in received] == 4 * [MAX_PLAINTEXT] + [len(plaintext) - 4 * MAX_PLAINTEXT]
        assert b"".join(received) == plaintext

    def test_no_data_is_no_message(self) -> None:
        one, _ = channel()
        assert one.encrypt(b"") == b""

    def test_an_empty_message_is_none_to_the_reader(self) -> None:
        one, other = channel()
        cipher, frame = one._sending, bytearray(TAG)
        cipher.encrypt_into(b"", memoryview(frame))
        assert b"".join(other.receive(b"\0\x10" + frame + one.encrypt(b"x"))) == b"x"

    @given(st.lists(st.binary(max_size=200), max_size=10), st.data())
    @settings(max_examples=50, deadline=None)
    def test_splits_do_not_matter(self, writes: list[bytes], data: st.DataObject) -> None:
        one, other = channel()
        sent = b"".join(bytes(one.encrypt(write)) for write in writes)
        received = []
        while sent:
            size = data.draw(st.integers(1, len(sent)))
            received += other.receive(sent[:size])
            sent = sent[size:]
        assert received == [write for write in writes if write]

    def test_every_message_is_read_once_and_in_its_order(self) -> None:
        one, other = channel()
        first, second = one.encrypt(b"first"), one.encrypt(b"second")
        assert other.receive(first) == [b"first"]
        with pytest.raises(DecryptionError):
            other.receive(first)
        one, other = channel()
        first, second = one.encrypt(b"first"), one.encrypt(b"second")
        with pytest.raises(DecryptionError):
            other.receive(second)

    def test_a_message_does_not_pass_for_an_answer(self) -> None:
        one, _ = channel()
        with pytest.raises(DecryptionError):
            one.receive(one.encrypt(b"echo"))

    @pytest.mark.parametrize(
        "message", [b"\0\0", b"\0\x0f" + bytes(15), b"\0\x10" + bytes(16), b"\0\x11" + bytes(17)]
    )
    def test_forged_messages_are_refused(self, message: bytes) -> None:
        _, other = channel()
        with pytest.raises(DecryptionError):
            other.receive(message)

    @pytest.mark.parametrize("position", [2, 3, 8, 23])
    def test_a_bit_changed_on_the_way_is_noticed(self, position: int) -> None:
        one, other = channel()
        sent = one.encrypt(b"six+16")
        sent[position] ^= 1
        with pytest.raises(DecryptionError):
            other.receive(sent)

    def test_a_nonce_is_never_used_twice(self) -> None:
        sending, receiving = CipherState(bytes(32)), CipherState(bytes(32))
        sending.nonce = receiving.nonce = 2**64 - 2
        one, other = Transport(sending, CipherState(bytes(32))), Transport(CipherState(bytes(32)), receiving)
        last = one.encrypt(b"last")
        assert other.receive(last) == [b"last"]
        with pytest.raises(NonceExhaustedError):
            one.encrypt(b"one more")
        with pytest.raises(NonceExhaustedError):
            other.receive(last)
