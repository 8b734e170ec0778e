"""The message of identify and identify push (libp2p specifications, identify).

It is not trusted further than the connection it came on: whoever reads it compares the key with the peer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from daemon.libp2p import protobuf
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identity import PublicKey
from daemon.libp2p.multiaddr import InvalidMultiaddrError, Multiaddr, known_addresses

PROTOCOL = "/ipfs/id/1.0.0"
PUSH_PROTOCOL = "/ipfs/id/push/1.0.0"

MAX_MESSAGE = 8 * 1024
"""Bytes of one delimited message. go-libp2p sends two when a signed record makes the first too long."""
MAX_MESSAGES = 10
"""A peer's messages up to the end of its stream are one message in parts: joined, they are decoded as one."""
MAX_ADDRESSES = 64
MAX_PROTOCOLS = 256
MAX_TEXT = 256
"""Bytes of a protocol's name or a version; what is longer is passed over."""


@dataclass(frozen=True, slots=True)
class Identify:
    """What a peer says of itself. In a push, what is missing is unchanged."""

    public_key: PublicKey | None = None
    listen_addresses: tuple[Multiaddr, ...] = ()
    protocols: tuple[str, ...] = ()
    observed_address: Multiaddr | None = None
    """Where the sender sees the receiver."""
    protocol_version: str | None = None
    agent_version: str | None = None

    def encode(self) -> bytes:
        """Return the protobuf message."""
        parts = []
        if self.public_key is not None:
            parts.append(protobuf.bytes_field(1, self.public_key.encode()))
        parts += (protobuf.bytes_field(2, address.raw) for address in self.listen_addresses)
        parts += (protobuf.bytes_field(3, name.encode()) for name in self.protocols)
        if self.observed_address is not None:
            parts.append(protobuf.bytes_field(4, self.observed_address.raw))
        if self.protocol_version is not None:
            parts.append(protobuf.bytes_field(5, self.protocol_version.encode()))
        if self.agent_version is not None:
            parts.append(protobuf.bytes_field(6, self.agent_version.encode()))
        return b"".join(parts)

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read a message, or several that were sent in turn, joined.

        Addresses that are not understood are left out, and so is what goes beyond the limits above.

        Raises:
            RemoteProtocolError: the message, or the key in it, is malformed.
        """
        key = observed = protocol_version = agent_version = None
        addresses: list[bytes] = []
        protocols: dict[str, None] = {}
        for field in protobuf.fields(message):
            match field:
                case (1, bytes() as value):
                    key = PublicKey.decode(value)
                case (2, bytes() as value) if len(addresses) < 4 * MAX_ADDRESSES:
                    addresses.append(value)
                case (3, bytes() as value) if len(value) <= MAX_TEXT and len(protocols) < MAX_PROTOCOLS:
                    protocols[_text(value)] = None
                case (4, bytes() as value):
                    observed = value
                case (5, bytes() as value) if len(value) <= MAX_TEXT:
                    protocol_version = _text(value)
                case (6, bytes() as value) if len(value) <= MAX_TEXT:
                    agent_version = _text(value)
        return cls(
            key,
            known_addresses(addresses, MAX_ADDRESSES),
            tuple(protocols),
            _address(observed),
            protocol_version,
            agent_version,
        )


def _address(raw: bytes | None) -> Multiaddr | None:
    try:
        return None if raw is None else Multiaddr(raw)
    except InvalidMultiaddrError:
        return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("a text of an identify message is not UTF-8") from None
