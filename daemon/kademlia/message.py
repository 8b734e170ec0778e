"""Messages of the DHT (libp2p specifications, kad-dht), on the wire as go-libp2p-kad-dht writes them.

Records, which belong to requests that Spegel has no use for, are passed over, and so is what the sender says
of its connection to a peer: nobody reads it.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from daemon.kademlia.parameters import K
from daemon.libp2p import protobuf
from daemon.libp2p.errors import RemoteProtocolError
from daemon.libp2p.identity import InvalidPeerIdError, PeerId
from daemon.libp2p.multiaddr import Multiaddr, known_addresses
from daemon.libp2p.peer_info import PeerInfo

MAX_REQUEST = 64 * 1024
"""Bytes; the longest request is an ADD_PROVIDER, whose record may have 8 KiB."""
MAX_ANSWER = 1024 * 1024
"""Bytes; upstream puts any number of providers into an answer, some 120 bytes each."""
MAX_CLOSER = 2 * K
MAX_PROVIDERS = 256
"""Peers that are read of an answer. Upstream sends providers in random order, so any part of them will do."""
MAX_ADDRESSES = 16

_MAX_RECORD = 8 * 1024  # bytes of a peer with its addresses, upstream's limit
_MAX_KEPT = 512  # bytes up to which the decoded form is kept
_CLUSTER_LEVEL = protobuf.varint_field(10, 1)  # written by upstream as it always was, read by nobody


class MessageType(enum.IntEnum):
    """What is asked for; an answer has the type of its request."""

    PUT_VALUE = 0
    GET_VALUE = 1
    ADD_PROVIDER = 2
    GET_PROVIDERS = 3
    FIND_NODE = 4
    PING = 5


Believed = Callable[[Multiaddr], bool]
"""Tells whether a peer can be at an address that the sender names; the same object for the same answers."""

_TYPES = {int(kind): kind for kind in MessageType}
_TYPE_FIELDS = {kind: protobuf.varint_field(1, kind) if kind else b"" for kind in MessageType}


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer."""

    type: MessageType
    key: bytes = b""
    """What is asked for: a content's key, or in FIND_NODE a peer ID or any other key."""
    closer: tuple[PeerInfo, ...] = ()
    providers: tuple[PeerInfo, ...] = ()

    def encode(self) -> bytes:
        """Return the protobuf message."""
        parts = [_TYPE_FIELDS[self.type]]
        if self.key:
            parts.append(protobuf.bytes_field(2, self.key))
        parts += [_encoded(8, peer) for peer in self.closer]
        parts += [_encoded(9, peer) for peer in self.providers]
        parts.append(_CLUSTER_LEVEL)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, believed: Believed | None = None) -> Self:
        """Read a message.

        Peers without a valid ID and addresses that are not understood, or not believed, are left out, and so
        is what goes beyond the limits above.

        Raises:
            RemoteProtocolError: the message is malformed or of no known type.
        """
        kind, key = 0, b""
        closer: list[PeerInfo] = []
        providers: list[PeerInfo] = []
        for number, value in protobuf.fields(data):
            if isinstance(value, int):
                if number == 1:
                    kind = value
            elif number == 2:
                key = value
            elif number == 8 and len(closer) < MAX_CLOSER:
                _append(closer, value, believed)
            elif number == 9 and len(providers) < MAX_PROVIDERS:
                _append(providers, value, believed)
        message_type = _TYPES.get(kind)
        if message_type is None:
            raise RemoteProtocolError(f"{kind} is no type of a message of the DHT")
        return cls(message_type, key, tuple(closer), tuple(providers))


def _append(peers: list[PeerInfo], data: bytes, believed: Believed | None) -> None:
    # The same few peers, with the same addresses, are in almost all messages: they are decoded once and
    # kept in memory once. What is unusually long is not worth keeping for whoever sent it.
    decode = _decode_peer_once if len(data) <= _MAX_KEPT else _decode_peer
    peer = decode(data, believed)
    if peer is not None:
        peers.append(peer)


def _decode_peer(data: bytes, believed: Believed | None) -> PeerInfo | None:
    if len(data) > _MAX_RECORD:
        return None
    raw_id = b""
    addresses: list[bytes] = []
    for number, value in protobuf.fields(data):
        if isinstance(value, int):
            continue
        if number == 1:
            raw_id = value
        elif number == 2 and len(addresses) < 4 * MAX_ADDRESSES:
            addresses.append(value)
    try:
        peer_id = PeerId(raw_id)
    except InvalidPeerIdError:
        return None
    known = known_addresses(addresses, MAX_ADDRESSES)
    return PeerInfo(peer_id, tuple(filter(believed, known)) if believed else known)


_decode_peer_once = functools.lru_cache(maxsize=1024)(_decode_peer)


@functools.lru_cache(maxsize=1024)
def _encoded(number: int, peer: PeerInfo) -> bytes:
    fields = (protobuf.bytes_field(2, address.raw) for address in peer.addresses)
    return protobuf.bytes_field(number, protobuf.bytes_field(1, peer.id.raw) + b"".join(fields))
