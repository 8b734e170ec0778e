"""The XX pattern, by known answers: the vectors of cacophony and of snow for this protocol name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.noise_xx import TAG, CipherState, DecryptionError, HandshakeState


@dataclass(frozen=True)
class Vector:
    """Everything in hexadecimal; messages are payload and ciphertext, sides in turn."""

    prologue: str
    initiator: tuple[str, str]
    """Static and ephemeral private key."""
    responder: tuple[str, str]
    messages: tuple[tuple[str, str], ...]
    handshake_hash: str | None = None

    def side(self, *, initiator: bool) -> HandshakeState:
        static, ephemeral = self.initiator if initiator else self.responder
        return HandshakeState(
            initiator=initiator,
            static=X25519PrivateKey.from_private_bytes(bytes.fromhex(static)),
            ephemeral=X25519PrivateKey.from_private_bytes(bytes.fromhex(ephemeral)),
            prologue=bytes.fromhex(self.prologue),
        )


CACOPHONY = Vector(
    prologue="4a6f686e2047616c74",
    initiator=(
        "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
        "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
    ),
    responder=(
        "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
        "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
    ),
    handshake_hash="c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e",
    messages=(
        (
            "4c756477696720766f6e204d69736573",
            (
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
                "4c756477696720766f6e204d69736573"
            ),
        ),
        (
            "4d757272617920526f746862617264",
            (
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
                "81cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392490e5b9"
                "bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f"
                "8814c7194e83f23dbd8d162c9326ad"
            ),
        ),
        (
            "462e20412e20486179656b",
            (
                "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a8"
                "0ae475b9df0f169ae80a89be0865b57f58c9fea0d4ec82a286427402f113e4b6"
                "ae769a1d95941d49b25030"
            ),
        ),
        ("4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"),
        (
            "4a65616e2d426170746973746520536179",
            "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5",
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f",
        ),
    ),
)

SNOW = Vector(
    prologue="5468657265206973206e6f20726967687420616e642077726f6e672e2054686572652773206f6e6c792066756e20616e6420626f"
    "72696e672e",
    initiator=(
        "7dec208517a3b81a2861d7a71266d5d6dc944c5a8816634a86fe63198a0148ee",
        "a32daf21e93c0131495ce1d903181fde81cc46937daaeb990bae7c992709421e",
    ),
    responder=(
        "4d0aed5098e3b4ef20357e9f686ce66204c792b358da2e475017d6c485304881",
        "4eece0f195d026db035ff987597c429d3ad3bcc2944df37d649528951b2a27c5",
    ),
    messages=(
        (
            "d03c489139e645d0711a3c9e810d776b46a84912463fafa87b884eebf242dc34",
            (
                "f9fa868ba97ab8a2686deccfaad5a484ee10a5bb85e3d1dce015a84797f92818"
                "d03c489139e645d0711a3c9e810d776b46a84912463fafa87b884eebf242dc34"
            ),
        ),
        (
            "d8190a92f7dc0c93dbea9118ba8055751fb7c6590c416ffbd419964132b99a85",
            (
                "8c4e6fdb7d09d501a86f7eca5c234522751706ed409182c05cdf5f827d4dae47"
                "b81c6c5f43b025692c24391eefee725c17d8cb0fbe3e4abb8aedf42c4fd2592d"
                "4ea48ac08989d6ae8b4adae08b2c34087c808c7aa55a63c02b0fab9e93061233"
                "6bd43eaea04d3c670a0a146691aa9cc9d357872320dc735dbc48580cffb553db"
            ),
        ),
        (
            "77891b19dcb92ef7c055b672c4a5aa7fdf1c84146b8b303459022729473ce254",
            (
                "933ca6b5ed60df3df66121f0ab49a09e49efa45c613a86a3cecbf4c535cef2f8"
                "3f72b42837b18e3572f2fdc2b74c331e2368a545cef54bdca081678ab0e9dd53"
                "48122459e0c034c851984d88ce610963d43cde6cfe73a67fbd5a63e8bfca96d0"
            ),
        ),
        (
            "d7efdf988072881941db045a42882433817555128fbf5663e56081712ec7d212",
            "54ef0ff0629e1aaa7685a2806ab111cba76b52331f2642276736f415868eacb69ab2577f3bda0cbf72f879685f6ed25f",
        ),
        (
            "dd7bf01a588bafb52c6cfba952e5d8fe35cc2b3f92b4730ae2474615157345ce",
            "356be70f110306d5c699bb834bb9d58d909e325924dfbec972e406e6f294dc63e1daebefe8a62a334facc8048ab4ad66",
        ),
    ),
)


def encrypt(cipher: CipherState, plaintext: bytes) -> bytes:
    out = bytearray(len(plaintext) + TAG)
    cipher.encrypt_into(plaintext, memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("vector", [CACOPHONY, SNOW], ids=["cacophony", "snow"])
def test_known_answers(vector: Vector) -> None:
    initiator, responder = vector.side(initiator=True), vector.side(initiator=False)
    writer, reader = initiator, responder
    for payload, ciphertext in vector.messages[:3]:
        assert writer.write(bytes.fromhex(payload)).hex() == ciphertext
        assert reader.read(bytes.fromhex(ciphertext)).hex() == payload
        writer, reader = reader, writer
    assert initiator.complete
    assert responder.complete
    assert initiator.hash == responder.hash
    assert vector.handshake_hash in {None, initiator.hash.hex()}
    keys = {id(initiator): initiator.split(), id(responder): responder.split()}
    for payload, ciphertext in vector.messages[3:]:
        (sending, _), (_, receiving) = keys[id(writer)], keys[id(reader)]
        assert encrypt(sending, bytes.fromhex(payload)).hex() == ciphertext
        assert receiving.decrypt(bytes.fromhex(ciphertext)).hex() == payload
        writer, reader = reader, writer


def test_both_sides_learn_each_others_static_key() -> None:
    initiator, responder = CACOPHONY.side(initiator=True), CACOPHONY.side(initiator=False)
    responder.read(initiator.write(b""))
    assert responder.remote_static is None
    initiator.read(responder.write(b""))
    responder.read(initiator.write(b""))
    for one, other in ((initiator, CACOPHONY.responder), (responder, CACOPHONY.initiator)):
        static = X25519PrivateKey.from_private_bytes(bytes.fromhex(other[0]))
        assert one.remote_static == static.public_key().public_bytes_raw()


def test_sides_speak_in_turn() -> None:
    initiator, responder = CACOPHONY.side(initiator=True), CACOPHONY.side(initiator=False)
    with pytest.raises(LocalProtocolError):
        responder.write(b"")
    with pytest.raises(LocalProtocolError):
        initiator.read(bytes(48))
    with pytest.raises(LocalProtocolError):
        initiator.split()
    initiator.write(b"")
    with pytest.raises(LocalProtocolError):
        initiator.write(b"")


@pytest.mark.parametrize("changed", ["prologue", "responder"])
def test_a_side_that_assumes_otherwise_reads_nothing(changed: str) -> None:
    initiator = CACOPHONY.side(initiator=True)
    initiator.write(b"")
    other = SNOW.prologue if changed == "prologue" else CACOPHONY.prologue
    responder = HandshakeState(
        initiator=False, static=X25519PrivateKey.generate(), prologue=bytes.fromhex(other)
    )
    stranger = HandshakeState(
        initiator=True, static=X25519PrivateKey.generate(), prologue=bytes.fromhex(CACOPHONY.prologue)
    )
    responder.read(stranger.write(b""))
    with pytest.raises(DecryptionError):
        initiator.read(responder.write(b"payload"))


@pytest.mark.parametrize("size", [0, 31])
def test_a_message_without_a_whole_key_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="too short"):
        CACOPHONY.side(initiator=False).read(bytes(size))


@pytest.mark.parametrize(
    "point",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",  # of order 8
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # p - 1
    ],
)
def test_keys_of_small_order_are_refused(point: str) -> None:
    responder = CACOPHONY.side(initiator=False)
    responder.read(bytes.fromhex(point))
    with pytest.raises(RemoteProtocolError, match="gives no secret"):
        responder.write(b"")
