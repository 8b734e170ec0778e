"""Who provides what, as told by the providers.

Records are packed, since there may be tens of thousands: of each key there is one bytes object, in which a
record is the number of the provider and the second at which the record expires, the last to expire last.
Providers, with their addresses, are kept once.

What is dropped when there is too much:
- of a key with more than ``MAX_PER_KEY`` providers, the record that expires first: those kept are of the
  providers that have spoken last, enough to choose from and to spread the load over;
- of a provider with more than ``MAX_PER_PROVIDER`` keys, the new key: nobody fills the store alone;
- of more than ``MAX_KEYS`` keys, those that have not been provided for longest, some at once: they are also
  held by K - 1 other nodes.
"""

from __future__ import annotations

import struct
from itertools import islice
from random import Random

from daemon.kademlia.parameters import ADDRESS_VALIDITY, RECORD_VALIDITY
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

MAX_KEYS = 30_000
MAX_PER_KEY = 48
MAX_PER_PROVIDER = 10_000
MAX_PROVIDERS = 4096

_RECORD = struct.Struct("<HI")
_NUMBER = struct.Struct("<H")
_DROPPED_AT_ONCE = MAX_KEYS // 64


class _Provider:
    __slots__ = ("addresses_until", "number", "packed_number", "peer", "records")

    def __init__(self, number: int, peer: PeerInfo) -> None:
        self.number = number
        self.packed_number = _NUMBER.pack(number)
        self.peer = peer
        self.addresses_until = 0.0
        self.records = 0


class ProviderStore:
    """Records with expiry. Times are seconds on any one clock; they fit into 32 bits."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._records: dict[bytes, bytes] = {}  # what is provided moves to the end
        self._providers: dict[bytes, _Provider] = {}
        self._by_number: dict[int, _Provider] = {}
        self._free: list[int] = []  # numbers given back

    def __len__(self) -> int:
        """The number of records, with those that have expired and are not swept out yet."""
        return sum(provider.records for provider in self._providers.values())

    def add(self, key: bytes, peer: PeerInfo, now: float) -> bool:
        """Note that a peer provides what is under a key, and where it is reached.

        Returns:
            Whether there was room.
        """
        provider = self._providers.get(peer.id.raw) or self._new_provider(peer)
        if provider is None:
            return False
        provider.peer = peer
        provider.addresses_until = now + ADDRESS_VALIDITY
        packed = self._records.get(key, b"")
        rest = self._without(provider, packed)
        if len(rest) == len(packed):
            if provider.records >= MAX_PER_PROVIDER:
                return False
            provider.records += 1
        if packed:
            rest = self._live(rest, now, MAX_PER_KEY - 1)
            del self._records[key]
        elif len(self._records) >= MAX_KEYS:
            for oldest in list(islice(self._records, _DROPPED_AT_ONCE)):
                self._remove(oldest)
        self._records[key] = rest + _RECORD.pack(provider.number, int(now + RECORD_VALIDITY))
        return True

    def get(self, key: bytes, now: float) -> list[PeerInfo]:
        """Return who provides what is under a key, in random order, so that load is spread."""
        found = [
            self._by_number[number].peer
            for number, expiry in _RECORD.iter_unpack(self._records.get(key, b""))
            if expiry > now
        ]
        self._random.shuffle(found)
        return found

    def provider(self, peer: PeerId, now: float) -> PeerInfo | None:
        """Return what a provider has said of its addresses, for as long as that is believed."""
        provider = self._providers.get(peer.raw)
        return provider.peer if provider and provider.addresses_until > now else None

    def expire(self, now: float) -> None:
        """Drop what is not believed any more. Between two calls it only takes up room."""
        expired = []
        for key, packed in self._records.items():
            if _RECORD.unpack_from(packed, len(packed) - _RECORD.size)[1] > now:
                break
            expired.append(key)
        for key in expired:
            self._remove(key)
        for provider in list(self._providers.values()):
            if not provider.records and provider.addresses_until <= now:
                self._forget(provider)

    def _remove(self, key: bytes) -> None:
        for number, _ in _RECORD.iter_unpack(self._records.pop(key)):
            self._by_number[number].records -= 1

    def _without(self, provider: _Provider, packed: bytes) -> bytes:
        at = packed.find(provider.packed_number)
        while at > 0 and at % _RECORD.size:
            at = packed.find(provider.packed_number, at + 1)
        return packed if at < 0 else packed[:at] + packed[at + _RECORD.size :]

    def _live(self, packed: bytes, now: float, limit: int) -> bytes:
        """Return the last records, up to ``limit``, that have not expired."""
        at = 0
        while at < len(packed):
            number, expiry = _RECORD.unpack_from(packed, at)
            if expiry > now and len(packed) - at <= limit * _RECORD.size:
                break
            self._by_number[number].records -= 1
            at += _RECORD.size
        return packed[at:]

    def _new_provider(self, peer: PeerInfo) -> _Provider | None:
        if len(self._providers) >= MAX_PROVIDERS:
            silent = next((one for one in self._providers.values() if not one.records), None)
            if silent is None:
                return None
            self._forget(silent)
        provider = _Provider(self._free.pop() if self._free else len(self._by_number), peer)
        self._providers[peer.id.raw] = self._by_number[provider.number] = provider
        return provider

    def _forget(self, provider: _Provider) -> None:
        del self._providers[provider.peer.id.raw]
        del self._by_number[provider.number]
        self._free.append(provider.number)
