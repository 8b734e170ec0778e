"""Keys and peer IDs, by the vectors of the libp2p specification and of other implementations' tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.libp2p import protobuf
from daemon.libp2p.identity import InvalidKeyError, InvalidPeerIdError, KeyType, PeerId, PrivateKey, PublicKey

# libp2p/specs, peer-ids.md, test vectors.
ED25519_PRIVATE = bytes.fromhex(
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
    "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
)
ED25519_PUBLIC = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
SECP256K1_PUBLIC = bytes.fromhex("08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99")
ECDSA_PUBLIC = bytes.fromhex(
    "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4b"
    "c901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62"
)

# The keys and IDs of js-ipfs's tests of "init"; the private key has its public key twice, as of old.
OLD_PRIVATE = bytes.fromhex(
    "0801126057996a6c3ef507701e04a672f3e67cb5299964ed62951ec9c6d771f9e44e70c8"
    "ece68f984e95f22f8bc3b14d0790ad62e0c5294b0e4b987e02883217f0dfb780"
    "ece68f984e95f22f8bc3b14d0790ad62e0c5294b0e4b987e02883217f0dfb780"
)
OLD_ID = "12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcqzMFHZnnsTzqD"
SHORT_PUBLIC = bytes.fromhex("08021221029acbf04a9dec8184167f929e04156a571caa5f4c3b19d6bda13fdebc1ab90463")
SHORT_ID = "16Uiu2HAm5qw8UyXP2RLxQUx5KvtSN8DsTKz8quRGqGNC3SYiaB8E"
RSA_PUBLIC = bytes.fromhex(
    "080012a60230820122300d06092a864886f70d01010105000382010f003082010a0282010100a156688e6d8a3aa642ab3127773b35b571"
    "32fe443997d6b9044d818a595f533d730d8049454d8a181ea4fd419a268f9448f225261dc723ceaaf8274995f84d0da6f1c738b9660d9f"
    "36940c36671eec69491e416bc2d12f59d28dda4f1dac4ae6d9579deb4a89a4660407e1f613b3844445e8d5e25b732c57734100705ab06f"
    "95a8293c7502c4a0d40a7139a08cdd6c3dba96d59588f056afb4dfa2dcc2f0bca2fed71ea82a4731424631bb15832a67960a5ecb4ecc06"
    "fb3bd5d561e4b7117a7ff3b6c40ee988eee03dd0816a320f448851d245bc1cc4c0bf5b4a203742351cfdf90677b11c74de5b79b60ea808"
    "b864888030ba778b8f81f13ceafda72e965e370203010001"
)
RSA_ID = "QmRsooYQasV5f5r834NSpdUtmejdQcpxXkK6qsozZWEihC"


class TestKeys:
    def test_an_ed25519_key_is_read_and_written(self) -> None:
        key = PrivateKey.decode(ED25519_PRIVATE)
        assert key.public_key.encode() == ED25519_PUBLIC
        assert key.encode() == ED25519_PRIVATE

    @pytest.mark.parametrize("encoded", [ED25519_PUBLIC, SECP256K1_PUBLIC, ECDSA_PUBLIC, RSA_PUBLIC])
    def test_public_keys_of_all_types_come_back(self, encoded: bytes) -> None:
        assert PublicKey.decode(encoded).encode() == encoded

    def test_the_order_and_the_padding_of_the_fields_do_not_change_the_id(self) -> None:
        swapped = ED25519_PUBLIC[2:] + bytes.fromhex("088100")
        assert PublicKey.decode(swapped).peer_id == PublicKey.decode(ED25519_PUBLIC).peer_id

    def test_a_signature_is_the_keys_and_the_messages(self) -> None:
        key, other = PrivateKey.generate(), PrivateKey.generate()
        signature = key.sign(b"message")
        assert key.public_key.verify(signature, b"message")
        assert not key.public_key.verify(signature, b"massage")
        assert not other.public_key.verify(signature, b"message")
        assert not key.public_key.verify(signature[:-1], b"message")
        assert not key.public_key.verify(b"", b"message")

    @pytest.mark.parametrize("encoded", [SECP256K1_PUBLIC, ECDSA_PUBLIC, RSA_PUBLIC])
    def test_only_ed25519_peers_can_prove_themselves(self, encoded: bytes) -> None:
        with pytest.raises(InvalidKeyError, match="Ed25519"):
            PublicKey.decode(encoded).verify(b"signature", b"message")

    @pytest.mark.parametrize(
        ("encoded", "why"),
        [
            (b"", "type and data"),
            (ED25519_PUBLIC[:2], "type and data"),
            (ED25519_PUBLIC[2:], "type and data"),
            (bytes.fromhex("08041201aa"), "4 is no type"),
            (protobuf.varint_field(1, 1) + protobuf.bytes_field(2, bytes(31)), "32 bytes, not 31"),
        ],
    )
    def test_malformed_public_keys_are_refused(self, encoded: bytes, why: str) -> None:
        with pytest.raises(InvalidKeyError, match=why):
            PublicKey.decode(encoded)

    @pytest.mark.parametrize(
        ("encoded", "why"),
        [
            (SECP256K1_PUBLIC, "not SECP256K1"),
            (protobuf.varint_field(1, 1) + protobuf.bytes_field(2, bytes(32)), "32 bytes"),
            (OLD_PRIVATE[:-1] + b"\x81", "another key's"),
            (ED25519_PRIVATE[:-1] + b"\x7f", "another key's"),
        ],
    )
    def test_malformed_private_keys_are_refused(self, encoded: bytes, why: str) -> None:
        with pytest.raises(InvalidKeyError, match=why):
            PrivateKey.decode(encoded)

    def test_a_private_key_is_not_shown(self) -> None:
        key = PrivateKey.generate()
        assert repr(key) == f"<private key of {key.peer_id}>"


class TestPeerIds:
    @pytest.mark.parametrize(("public_key", "text"), [(RSA_PUBLIC, RSA_ID), (SHORT_PUBLIC, SHORT_ID)])
    def test_an_id_is_made_of_the_public_key(self, public_key: bytes, text: str) -> None:
        assert str(PublicKey.decode(public_key).peer_id) == text

    def test_an_id_is_made_of_a_private_key(self) -> None:
        assert str(PrivateKey.decode(OLD_PRIVATE).peer_id) == OLD_ID

    @pytest.mark.parametrize(
        ("text", "base58"),
        [
            # libp2p/specs, peer-ids.md, and the pairs of go-multiaddr's tests.
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            ),
            (
                "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe",
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            ),
            (
                "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
                "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
            ),
            (
                "k2k4r8oqamigqdo6o7hsbfwd45y70oyynp98usk7zmyfrzpqxh1pohl7",
                "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            ),
            (
                "bafzbeigvf25ytwc3akrijfecaotc74udrhcxzh2cx3we5qqnw5vgrei4bm",
                "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            ),
            (
                "k51qzi5uqu5dhb6l8spkdx7yxafegfkee5by8h7lmjh2ehc2sgg34z7c15vzqs",
                "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV",
            ),
            (
                "bafzaajaiaejcalj543iwv2d7pkjt7ykvefrkfu7qjfi6sduakhso4lay6abn2d5u",
                "12D3KooWCryG7Mon9orvQxcS1rYZjotPgpwoJNHHKcLLfE4Hf5mV",
            ),
        ],
    )
    def test_ids_are_read_in_all_their_forms_and_written_in_one(self, text: str, base58: str) -> None:
        assert str(PeerId.parse(text)) == base58

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1",
            "Qm",
            OLD_ID[:-1],
            OLD_ID + "1",
            OLD_ID.replace("R", "0"),
            "bafkreifoybygix7fh3r3g5rqle3wcnhqldgdg4shzf4k3ulyw3gn7mabt4",  # a CID, of something else
            "QmxoHT6iViN5xAjoz1VZ553cL31U9F94ht3QvWR1FrEbZY",  # says SHA-256 and has too many bytes
            "b!",
            "k_1",
            "k" + "z" * 200,
            "z",
            "1" * 5000,
            "Z" * 5000,
        ],
    )
    def test_what_is_no_id_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidPeerIdError):
            PeerId.parse(text)

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\0",
            b"\0\0",
            b"\0\x02x",
            b"\0\x2b" + bytes(43),
            b"\x12\x20" + bytes(31),
            b"\x11\x14" + bytes(20),
        ],
    )
    def test_other_multihashes_are_no_ids(self, raw: bytes) -> None:
        with pytest.raises(InvalidPeerIdError):
            PeerId(raw)

    @given(
        st.binary(min_size=1, max_size=42).map(lambda key: bytes((0, len(key))) + key)
        | st.binary(min_size=32, max_size=32).map(lambda digest: b"\x12\x20" + digest)
    )
    def test_every_id_comes_back_from_its_text(self, raw: bytes) -> None:
        peer_id = PeerId(raw)
        if str(peer_id).startswith(("1", "Qm")):
            assert PeerId.parse(str(peer_id)) == peer_id

    def test_ids_are_ordered_by_their_bytes(self) -> None:
        assert PeerId(b"\0\x01a") < PeerId(b"\0\x01b") < PeerId(b"\x12\x20" + bytes(32))

    def test_an_ed25519_id_holds_the_key(self) -> None:
        key = PublicKey.decode(ED25519_PUBLIC)
        assert key.type is KeyType.ED25519
        assert key.peer_id.raw == bytes((0, len(ED25519_PUBLIC))) + ED25519_PUBLIC
