"""Secure channels (libp2p specifications, noise): who the peer is, then everything encrypted.

``Handshake`` turns bytes into bytes to send until ``secured`` is set. From then on everything goes through
``secured.transport``; ``rest`` holds what came in behind the handshake already.

Every Noise message, in the handshake and after it, has its length before it in two bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from daemon.libp2p import protobuf
from daemon.libp2p.errors import LocalProtocolError, RemoteProtocolError
from daemon.libp2p.identity import InvalidKeyError, PeerId, PrivateKey, PublicKey
from daemon.libp2p.noise_xx import MAX_MESSAGE, TAG, CipherState, HandshakeState

PROTOCOL = "/noise"

_SIGNED = b"noise-libp2p-static-key:"
_LENGTH = 2
_MAX_PLAINTEXT = MAX_MESSAGE - TAG
_MAX_HANDSHAKE_MESSAGE = 4096
"""An Ed25519 peer's is below 400 bytes; an RSA peer's, which is refused only after it is read, below 2000."""
_MAX_MUXERS = 32


class IdentityError(RemoteProtocolError):
    """The peer does not prove who it is: its payload is malformed or the signature is not its key's."""


class PeerMismatchError(Exception):
    """The peer proved an identity, but not the expected one. Nobody need be at fault: nodes get new keys."""

    def __init__(self, expected: PeerId, actual: PeerId) -> None:
        """Make the error; ``actual`` is proven by its signature."""
        super().__init__(f"expected the peer {expected}, but this is {actual}")
        self.expected = expected
        self.actual = actual


class NoCommonMuxerError(RemoteProtocolError):
    """Both sides named stream multiplexers in the handshake, and none is on both lists."""


class Credentials:
    """What a node shows in its handshakes: a Noise key signed by its identity. Made once, used for all."""

    def __init__(self, identity: PrivateKey, muxers: Sequence[str] = ()) -> None:
        """Sign a new Noise key; ``muxers`` are offered in the handshake, the most wanted first."""
        self.static = X25519PrivateKey.generate()
        self.muxers = tuple(muxers)
        signature = identity.sign(_SIGNED + self.static.public_key().public_bytes_raw())
        extensions = b"".join(protobuf.bytes_field(2, muxer.encode()) for muxer in self.muxers)
        self.payload = (
            protobuf.bytes_field(1, identity.public_key.encode())
            + protobuf.bytes_field(2, signature)
            + (protobuf.bytes_field(4, extensions) if extensions else b"")
        )


@dataclass(frozen=True, slots=True)
class Secured:
    """What a handshake leads to."""

    peer_id: PeerId
    """Proven by the peer's signature."""
    public_key: PublicKey
    muxer: str | None
    """The stream multiplexer both agreed on in the handshake; None when it still has to be negotiated."""
    transport: Transport


class Handshake:
    """One side of a handshake."""

    def __init__(self, credentials: Credentials, *, initiator: bool, expected: PeerId | None = None) -> None:
        """Prepare a handshake; ``expected`` is whom the peer has to prove to be, if that is known."""
        self.secured: Secured | None = None
        self._credentials = credentials
        self._initiator = initiator
        self._expected = expected
        self._state = HandshakeState(initiator=initiator, static=credentials.static)
        self._peer: tuple[PublicKey, tuple[str, ...]] | None = None
        self._data = b""

    def start(self) -> bytes:
        """Return what to send before anything was received; empty for the responder."""
        return _frame(self._state.write(b"")) if self._initiator else b""

    def receive(self, data: bytes) -> bytes:
        """Take in what was received and return what is to be sent, often nothing.

        Raises:
            RemoteProtocolError: a message is malformed, forged (DecryptionError), or does not prove an
                identity (IdentityError); or there is no multiplexer in common (NoCommonMuxerError).
            PeerMismatchError: the peer is not the expected one.
        """
        if self.secured is not None:
            raise LocalProtocolError("the handshake is over")
        self._data += data
        answer = b""
        while not self._state.complete and (message := self._next_message()) is not None:
            payload = self._state.read(message)
            if (static := self._state.remote_static) is not None:  # not yet with the first message
                self._peer = self._read_payload(payload, static)
            if self._state.writing:
                answer += _frame(self._state.write(self._credentials.payload))
        if self._state.complete and self._peer is not None:
            self.secured = self._finish(*self._peer)
        return answer

    @property
    def rest(self) -> bytes:
        """What was received behind the handshake, for ``secured.transport``."""
        return self._data

    def _next_message(self) -> bytes | None:
        if len(self._data) < _LENGTH:
            return None
        length = int.from_bytes(self._data[:_LENGTH])
        if length > _MAX_HANDSHAKE_MESSAGE:
            raise RemoteProtocolError(f"a handshake message of {length} bytes is not read here")
        end = _LENGTH + length
        if len(self._data) < end:
            return None
        message, self._data = self._data[_LENGTH:end], self._data[end:]
        return message

    def _read_payload(self, payload: bytes, static: bytes) -> tuple[PublicKey, tuple[str, ...]]:
        key = signature = extensions = b""
        try:
            for field in protobuf.fields(payload):
                match field:
                    case (1, bytes() as value):
                        key = value
                    case (2, bytes() as value):
                        signature = value
                    case (4, bytes() as value):
                        extensions = value
            public_key = PublicKey.decode(key)
            if not public_key.verify(signature, _SIGNED + static):
                raise IdentityError("the peer's identity does not vouch for its Noise key")
        except (protobuf.ProtobufError, InvalidKeyError) as error:
            raise IdentityError(f"the peer does not prove its identity: {error}") from error
        actual = public_key.peer_id
        if self._expected is not None and self._expected != actual:
            raise PeerMismatchError(self._expected, actual)
        return public_key, _muxers(extensions)

    def _finish(self, public_key: PublicKey, theirs: tuple[str, ...]) -> Secured:
        ours = self._credentials.muxers
        muxer = None
        if ours and theirs:
            preferred, other = (ours, theirs) if self._initiator else (theirs, ours)
            muxer = next((name for name in preferred if name in other), None)
            if muxer is None:
                raise NoCommonMuxerError(f"the peer multiplexes streams by {theirs}, this node by {ours}")
        return Secured(public_key.peer_id, public_key, muxer, Transport(*self._state.split()))


class Transport:
    """An encrypted connection: plaintext in, messages out, and back."""

    def __init__(self, sending: CipherState, receiving: CipherState) -> None:
        self._sending = sending
        self._receiving = receiving
        self._data = bytearray()

    def encrypt(self, plaintext: bytes | bytearray | memoryview) -> bytearray:
        """Return what to send, as few messages as the plaintext needs.

        Raises:
            NonceExhaustedError: the connection has to end.
        """
        source = memoryview(plaintext)
        starts = range(0, len(source), _MAX_PLAINTEXT)
        sent = bytearray(len(source) + len(starts) * (_LENGTH + TAG))
        target = memoryview(sent)
        position = 0
        for start in starts:
            chunk = source[start : start + _MAX_PLAINTEXT]
            end = position + _LENGTH + len(chunk) + TAG
            target[position : position + _LENGTH] = (len(chunk) + TAG).to_bytes(_LENGTH)
            self._sending.encrypt_into(chunk, target[position + _LENGTH : end])
            position = end
        return sent

    def receive(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take in what was received and return the plaintexts of the messages that are whole now.

        Raises:
            DecryptionError: a message was forged or replayed, or is too short to be one.
            NonceExhaustedError: the connection has to end.
        """
        self._data += data
        plaintexts = []
        position = 0
        with memoryview(self._data) as view:
            while len(view) - position >= _LENGTH:
                start = position + _LENGTH
                end = start + int.from_bytes(view[position:start])
                if end > len(view):
                    break
                plaintexts.append(self._receiving.decrypt(view[start:end]))
                position = end
        del self._data[:position]
        return plaintexts


def _frame(message: bytes) -> bytes:
    return len(message).to_bytes(_LENGTH) + message


def _muxers(extensions: bytes) -> tuple[str, ...]:
    found: list[str] = []
    for field in protobuf.fields(extensions):
        match field:
            case (2, bytes() as value) if len(found) < _MAX_MUXERS:
                found.append(value.decode("utf-8", "replace"))
    return tuple(found)
