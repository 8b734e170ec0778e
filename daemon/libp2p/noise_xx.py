"""Noise_XX_25519_ChaChaPoly_SHA256 (noiseprotocol.org, revision 34), and nothing else of Noise.

The three messages of the pattern, with a payload each; section numbers in the comments are the Noise
specification's. What libp2p puts into the payloads is the business of ``daemon.libp2p.noise``.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError

MAX_MESSAGE = 65535
TAG = 16
_KEY = 32
_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"  # 32 bytes, so it is the first hash as it stands (5.2)
_MAX_NONCE = 2**64 - 1

_PATTERN = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class DecryptionError(RemoteProtocolError):
    """A message is forged, replayed, out of order or for someone else."""


class NonceExhaustedError(Exception):
    """So many messages were sent or received that the connection has to end. Nobody's fault."""


class CipherState:
    """A key and the number of messages it has been used for (5.1)."""

    __slots__ = ("_aead", "nonce")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self.nonce = 0

    def encrypt_into(self, plaintext: bytes | memoryview, out: memoryview, ad: bytes | None = None) -> None:
        """Write the ciphertext, ``TAG`` bytes longer than the plaintext, to ``out``."""
        self._aead.encrypt_into(self._nonce(), plaintext, ad, out)
        self.nonce += 1

    def decrypt(self, ciphertext: bytes | memoryview, ad: bytes | None = None) -> bytes:
        """Return the plaintext.

        Raises:
            DecryptionError: it does not decrypt. The connection has to end.
        """
        try:
            plaintext = self._aead.decrypt(self._nonce(), ciphertext, ad)
        except InvalidTag:
            raise DecryptionError("a message does not decrypt") from None
        self.nonce += 1
        return plaintext

    def _nonce(self) -> bytes:
        if self.nonce >= _MAX_NONCE:
            raise NonceExhaustedError("2^64-1 messages were encrypted with one key")
        return (self.nonce << 32).to_bytes(12, "little")


class HandshakeState:
    """One side of the XX pattern (5.3). Messages are written and read in turn, the initiator first."""

    def __init__(
        self,
        *,
        initiator: bool,
        static: X25519PrivateKey,
        prologue: bytes = b"",
        ephemeral: X25519PrivateKey | None = None,
    ) -> None:
        """Prepare a handshake; the ephemeral key is given only where a test needs a known one."""
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral or X25519PrivateKey.generate()
        self.remote_static: bytes | None = None
        """The other side's static public key, once it has been read."""
        self._remote_ephemeral: bytes | None = None
        self._messages = 0
        self._cipher: CipherState | None = None
        self._chaining_key = _NAME
        self.hash = _NAME
        """Binds everything said so far; the same on both sides once the handshake is complete (11.2)."""
        self._mix_hash(prologue)

    @property
    def complete(self) -> bool:
        """Whether all three messages have been written or read."""
        return self._messages == len(_PATTERN)

    @property
    def writing(self) -> bool:
        """Whether the next message is this side's to write."""
        return not self.complete and (self._messages % 2 == 0) == self._initiator

    def write(self, payload: bytes) -> bytes:
        """Return the next message, with a payload that is as secret as the pattern has it at this point."""
        if not self.writing:
            raise LocalProtocolError("it is not this side's turn to write")
        message = []
        for token in _PATTERN[self._messages]:
            match token:
                case "e":
                    public = self._ephemeral.public_key().public_bytes_raw()
                    self._mix_hash(public)
                    message.append(public)
                case "s":
                    message.append(self._encrypt_and_hash(self._static.public_key().public_bytes_raw()))
                case _:
                    self._mix_dh(token)
        message.append(self._encrypt_and_hash(payload))
        self._messages += 1
        return b"".join(message)

    def read(self, message: bytes) -> bytes:
        """Read the other side's message and return its payload.

        Raises:
            DecryptionError: it is not what the other side wrote in this handshake.
            RemoteProtocolError: it is too short, or holds a key that no one should use.
        """
        if self.writing or self.complete:
            raise LocalProtocolError("it is not the other side's turn to write")
        for token in _PATTERN[self._messages]:
            match token:
                case "e":
                    self._remote_ephemeral, message = _take(message, _KEY)
                    self._mix_hash(self._remote_ephemeral)
                case "s":
                    encrypted, message = _take(message, _KEY + TAG)
                    self.remote_static = self._decrypt_and_hash(encrypted)
                case _:
                    self._mix_dh(token)
        payload = self._decrypt_and_hash(message)
        self._messages += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the keys for sending and for receiving, once the handshake is complete."""
        if not self.complete:
            raise LocalProtocolError("the handshake is not complete")
        first, second = map(CipherState, _hkdf(self._chaining_key, b""))
        return (first, second) if self._initiator else (second, first)

    def _mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def _mix_dh(self, token: str) -> None:
        """Mix in a shared secret. The token names the initiator's key, then the responder's."""
        own, remote = (token[0], token[1]) if self._initiator else (token[1], token[0])
        key = self._ephemeral if own == "e" else self._static
        public = self._remote_ephemeral if remote == "e" else self.remote_static
        assert public is not None  # noqa: S101 (the pattern sends a key before it uses it)
        try:
            secret = key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # the all-zero secret of a point of small order
            raise RemoteProtocolError("the peer sent a public key that gives no secret") from None
        self._chaining_key, temporary = _hkdf(self._chaining_key, secret)
        self._cipher = CipherState(temporary)

    def _encrypt_and_hash(self, plaintext: bytes) -> bytes:
        if self._cipher is None:
            ciphertext = plaintext
        else:
            out = bytearray(len(plaintext) + TAG)
            self._cipher.encrypt_into(plaintext, memoryview(out), self.hash)
            ciphertext = bytes(out)
        self._mix_hash(ciphertext)
        return ciphertext

    def _decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = ciphertext if self._cipher is None else self._cipher.decrypt(ciphertext, self.hash)
        self._mix_hash(ciphertext)
        return plaintext


def _take(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise RemoteProtocolError("a handshake message is too short")
    return message[:size], message[size:]


def _hkdf(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (4.3)."""
    temporary = hmac.digest(chaining_key, secret, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")
