"""From a bare connection to one that carries streams: multistream-select, Noise, and the way to yamux.

The machine takes bytes and gives bytes. The dialling side does not wait for answers that can only be one: it
sends its first Noise message right behind the proposal of Noise. When both sides name multiplexers in the
Noise handshake nothing more is negotiated; else multistream-select follows inside the secure channel.
"""

from __future__ import annotations

from daemon.libp2p import multistream, noise, yamux
from daemon.libp2p.errors import LocalProtocolError
from daemon.libp2p.identity import PeerId


class Upgrade:
    """One side's way; over once ``done``."""

    def __init__(
        self, credentials: noise.Credentials, *, initiator: bool, expected: PeerId | None = None
    ) -> None:
        """Prepare one side; ``expected`` is whom the peer has to prove to be, if that is known."""
        self._initiator = initiator
        self._handshake = noise.Handshake(credentials, initiator=initiator, expected=expected)
        self._security: _Select | None = _select(noise.PROTOCOL, initiator=initiator)
        self._muxer: _Select | None = None
        self._secured: noise.Secured | None = None
        self.rest: list[bytes] = []
        """What came in behind the negotiation, decrypted: the first bytes of yamux."""

    @property
    def done(self) -> bool:
        """Whether streams can be opened."""
        return self._secured is not None and self._muxer is None

    @property
    def secured(self) -> noise.Secured:
        """Who the peer is, and the secure channel to it."""
        if self._secured is None:
            raise LocalProtocolError("the handshake is not over")
        return self._secured

    def start(self) -> bytes:
        """Return what to send before anything was received; empty for the side that was dialled."""
        if not isinstance(self._security, multistream.Initiator):
            return b""
        return self._security.start() + self._handshake.start()

    def receive(self, data: bytes) -> bytes:
        """Take in what was received and return what is to be sent, often nothing.

        Raises:
            RemoteProtocolError: the peer breaks a rule or cannot prove who it is.
            NotSupportedError: the peer speaks neither Noise nor yamux.
            PeerMismatchError: it is not the expected one.
        """
        answer = b""
        if self._security is not None:
            answer += self._security.receive(data)
            if self._security.protocol is None:
                return answer
            data = self._security.rest
            self._security = None
        if self._secured is None:
            answer += self._handshake.receive(data)
            if self._handshake.secured is None:
                return answer
            self._secured = self._handshake.secured
            data = self._handshake.rest
            if self._secured.muxer is None:
                self._muxer = _select(yamux.PROTOCOL, initiator=self._initiator)
                if isinstance(self._muxer, multistream.Initiator):
                    answer += self._secured.transport.encrypt(self._muxer.start())
        return answer + self._receive_secured(self._secured.transport, data)

    def _receive_secured(self, transport: noise.Transport, data: bytes) -> bytes:
        answer = b""
        for plaintext in transport.receive(data):
            if self._muxer is None:
                self.rest.append(plaintext)
                continue
            answer += self._muxer.receive(plaintext)
            if self._muxer.protocol is not None:
                self.rest.append(self._muxer.rest)
                self._muxer = None
        return bytes(transport.encrypt(answer)) if answer else b""


_Select = multistream.Initiator | multistream.Responder


def _select(protocol: str, *, initiator: bool) -> _Select:
    return multistream.Initiator([protocol]) if initiator else multistream.Responder([protocol])
