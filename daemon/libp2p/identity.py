"""Who a peer is: keys and the IDs made of them (libp2p specifications, peer-ids).

Nodes identify themselves by Ed25519 keys, here as in upstream Spegel. IDs of the other key types are
understood as IDs; a peer that wants to prove one of them is refused.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from daemon.libp2p import base58, protobuf
from daemon.libp2p.errors import RemoteProtocolError

_SHA256 = b"\x12\x20"  # multihash: the function's code, the digest's length
_SHA256_LENGTH = 2 + 32
_IDENTITY = 0x00
_MAX_INLINE_KEY = 42
_CID = b"\x01\x72"  # CIDv1, libp2p-key
_BASE36 = re.compile(r"k[0-9a-z]{1,128}")

_SEED = 32
_PUBLIC = 32


class InvalidPeerIdError(ValueError):
    """Text or bytes are no peer ID."""


class InvalidKeyError(RemoteProtocolError):
    """Bytes are no key of a type that is understood here."""


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """A peer's ID: the multihash of its public key. Ordered by its bytes."""

    raw: bytes
    """A SHA-256 multihash, or an identity multihash, which holds the key itself when that is short."""

    def __post_init__(self) -> None:
        raw = self.raw
        if raw[:2] == _SHA256 and len(raw) == _SHA256_LENGTH:
            return
        if not (3 <= len(raw) <= 2 + _MAX_INLINE_KEY and raw[0] == _IDENTITY and raw[1] == len(raw) - 2):
            raise InvalidPeerIdError(f"{raw[:48].hex() or 'nothing'} is not a peer ID's multihash")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an ID: base58 (``12D3KooW…``, ``Qm…``), or a CIDv1 in base32, base36 or base58.

        Raises:
            InvalidPeerIdError: the text is none of these.
        """
        try:
            if text.startswith(("1", "Qm")):
                return cls(base58.decode(text))
            cid = _decode_multibase(text)
        except ValueError as error:
            raise InvalidPeerIdError(f"{text[:128]!r} is not a peer ID") from error
        if not cid.startswith(_CID):
            raise InvalidPeerIdError(f"{text[:128]!r} is a CID, but not one of a libp2p key")
        return cls(cid[len(_CID) :])

    def __str__(self) -> str:
        return base58.encode(self.raw)


def _decode_multibase(text: str) -> bytes:
    match text[:1]:
        case "b":
            digits = text[1 : base58.MAX_TEXT].upper()
            return base64.b32decode(digits + "=" * (-len(digits) % 8))
        case "k" if _BASE36.fullmatch(text):
            number = int(text[1:], 36)
            return number.to_bytes((number.bit_length() + 7) // 8)
        case "z":
            return base58.decode(text[1:])
    raise binascii.Error("no multibase prefix that is understood here")


class KeyType(enum.IntEnum):
    """Types of keys, by their numbers in the protobuf messages."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key as it travels."""

    type: KeyType
    data: bytes
    """32 bytes for Ed25519; DER or a curve's point for the other types."""

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read the protobuf message PublicKey.

        Raises:
            InvalidKeyError: a field is missing, or the type is unknown, or the length is not the type's.
        """
        key_type, data = _decode_key(message)
        if key_type is KeyType.ED25519 and len(data) != _PUBLIC:
            raise InvalidKeyError(f"an Ed25519 public key has {_PUBLIC} bytes, not {len(data)}")
        return cls(key_type, data)

    def encode(self) -> bytes:
        """Return the protobuf message PublicKey in its one allowed form."""
        return protobuf.varint_field(1, self.type) + protobuf.bytes_field(2, self.data)

    @property
    def peer_id(self) -> PeerId:
        """The ID of the peer that holds this key."""
        message = self.encode()
        if len(message) <= _MAX_INLINE_KEY:
            return PeerId(bytes((_IDENTITY, len(message))) + message)
        return PeerId(_SHA256 + hashlib.sha256(message).digest())

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether the key's holder signed a message.

        Raises:
            InvalidKeyError: the key is not an Ed25519 key.
        """
        if self.type is not KeyType.ED25519:
            raise InvalidKeyError(
                f"a peer with an {self.type.name} key cannot prove itself here, Ed25519 it is"
            )
        try:
            Ed25519PublicKey.from_public_bytes(self.data).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A node's own Ed25519 key."""

    __slots__ = ("ed25519", "peer_id", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.ed25519 = key
        self.public_key = PublicKey(KeyType.ED25519, key.public_key().public_bytes_raw())
        self.peer_id = self.public_key.peer_id

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read the protobuf message PrivateKey, with the public key said once or, as of old, twice.

        Raises:
            InvalidKeyError: it is no Ed25519 key, or its public part is another key's.
        """
        key_type, data = _decode_key(message)
        if key_type is not KeyType.ED25519:
            raise InvalidKeyError(f"a node's own key is an Ed25519 key here, not {key_type.name}")
        if len(data) <= _SEED:
            raise InvalidKeyError(f"an Ed25519 private key does not have {len(data)} bytes")
        key = cls(Ed25519PrivateKey.from_private_bytes(data[:_SEED]))
        public = key.public_key.data
        if data[_SEED:] not in (public, public + public):
            raise InvalidKeyError("an Ed25519 private key comes with another key's public part")
        return key

    def encode(self) -> bytes:
        """Return the protobuf message PrivateKey: a secret."""
        data = self.ed25519.private_bytes_raw() + self.public_key.data
        return protobuf.varint_field(1, KeyType.ED25519) + protobuf.bytes_field(2, data)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self.ed25519.sign(message)

    def __repr__(self) -> str:
        return f"<private key of {self.peer_id}>"


def _decode_key(message: bytes) -> tuple[KeyType, bytes]:
    key_type: int | None = None
    data: bytes | None = None
    for field in protobuf.fields(message):
        match field:
            case (1, int() as value):
                key_type = value
            case (2, bytes() as content):
                data = content
    if key_type is None or data is None:
        raise InvalidKeyError("a key has to have a type and data")
    try:
        return KeyType(key_type), data
    except ValueError:
        raise InvalidKeyError(f"{key_type} is no type of key") from None
