"""Who provides what, as told by the providers.

Records are packed, since there may be tens of thousands: of each key there is one bytes object, in which a
record is the number of the provider and the second at which the record expires, the last to expire last.
Providers, with their addresses, are kept once.

What is dropped when there is too much is always of the host that has the most of it, so that nobody can push
out what others have said by saying more. A host is an IP address, the sender's: identities are made up at
will, addresses are not. It is never a prefix, since all nodes of an IPv6 cluster are in one.
- Of a key with more than ``MAX_PER_KEY`` providers: the record that expires first, of the host with the most
  records of the key.
- Of more than ``MAX_KEYS`` keys: those provided least lately, of the host that the most keys count for. A key
  counts for one of those that provide it, the one that had the fewest then; before it is dropped it goes to
  another that has fewer.
- Of more than ``MAX_PROVIDERS`` providers: those met first, of the host with the most providers.
"""

from __future__ import annotations

import struct
from collections import Counter
from itertools import islice
from random import Random

from daemon.kademlia.parameters import ADDRESS_VALIDITY, RECORD_VALIDITY
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

MAX_KEYS = 30_000
MAX_PER_KEY = 48
MAX_PROVIDERS = 4096

_RECORD = struct.Struct("<HI")
_NUMBER = struct.Struct("<H")
_PART = 16  # of what the greediest host has is dropped at once, so that it is seldom looked for


class _Host:
    __slots__ = ("keys", "numbers", "providers")

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}  # that count for it, with their records, in the order of ``_keys``
        self.providers = 0
        self.numbers = 0  # of these, and of those dropped while records are left


class _Provider:
    __slots__ = ("addresses_until", "host", "number", "packed_number", "peer", "records")

    def __init__(self, number: int, peer: PeerInfo, host: _Host) -> None:
        self.number = number
        self.packed_number = _NUMBER.pack(number)
        self.peer: PeerInfo | None = peer  # None when it was dropped, though records are left
        self.host = host  # where it was met first
        self.addresses_until = 0.0
        self.records = 0


class ProviderStore:
    """Records with expiry. Times are seconds on any one clock; they fit into 32 bits."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._keys: dict[bytes, _Host] = {}  # whom each counts for; what is provided moves to the end
        self._providers: dict[bytes, _Provider] = {}
        self._hosts: dict[str, _Host] = {}
        self._by_number: dict[int, _Provider] = {}
        self._free: list[int] = []  # numbers given back

    def __len__(self) -> int:
        """The number of records, with those that have expired and are not swept out yet."""
        return sum(provider.records for provider in self._by_number.values())

    def add(self, key: bytes, peer: PeerInfo, now: float, address: str) -> bool:
        """Note that a peer provides what is under a key, and where it is reached.

        Args:
            key: what is provided.
            peer: who provides it, and where it says that it is.
            now: the time.
            address: where it really is, the IP address at the other end of its connection.

        Returns:
            Whether there was room.
        """
        provider = self._providers.get(peer.id.raw) or self._new_provider(peer, address)
        if provider is None:
            return False
        provider.peer = peer
        provider.addresses_until = now + ADDRESS_VALIDITY
        host = self._keys.pop(key, None)
        if host is not None:
            packed = self._with_room_for(provider, host.keys.pop(key), now)
        else:
            packed = b""
            while len(self._keys) >= MAX_KEYS:
                self._drop_keys()
        if host is None or len(provider.host.keys) < len(host.keys):
            host = provider.host
        self._keys[key] = host
        host.keys[key] = packed + _RECORD.pack(provider.number, int(now + RECORD_VALIDITY))
        provider.records += 1
        return True

    def get(self, key: bytes, now: float) -> list[PeerInfo]:
        """Return who provides what is under a key, in random order, so that load is spread."""
        found = [
            peer
            for number, expiry in _RECORD.iter_unpack(self._packed(key))
            if expiry > now and (peer := self._by_number[number].peer) is not None
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
        for key, host in self._keys.items():
            packed = host.keys[key]
            if _RECORD.unpack_from(packed, len(packed) - _RECORD.size)[1] > now:
                break
            expired.append(key)
        for key in expired:
            self._remove(key)
        for provider in list(self._by_number.values()):
            if not provider.records and provider.addresses_until <= now:
                self._drop(provider)
        self._hosts = {address: host for address, host in self._hosts.items() if host.numbers or host.keys}

    # --- records -----------------------------------------------------------------------------------------

    def _packed(self, key: bytes) -> bytes:
        host = self._keys.get(key)
        return host.keys[key] if host is not None else b""

    def _remove(self, key: bytes) -> None:
        for number, _ in _RECORD.iter_unpack(self._keys.pop(key).keys.pop(key)):
            self._by_number[number].records -= 1

    def _with_room_for(self, provider: _Provider, packed: bytes, now: float) -> bytes:
        """Return a key's records without the provider's own, expired ones, and one too many."""
        at = packed.find(provider.packed_number)
        while at > 0 and at % _RECORD.size:
            at = packed.find(provider.packed_number, at + 1)
        if at >= 0:
            packed = self._cut(packed, at)
        while packed and _RECORD.unpack_from(packed)[1] <= now:
            packed = self._cut(packed, 0)
        if len(packed) >= MAX_PER_KEY * _RECORD.size:
            hosts = [self._by_number[number].host for number, _ in _RECORD.iter_unpack(packed)]
            crowds = Counter([*hosts, provider.host])
            greediest = max(hosts, key=crowds.__getitem__)  # of several, the one whose record expires first
            packed = self._cut(packed, hosts.index(greediest) * _RECORD.size)
        return packed

    def _cut(self, packed: bytes, at: int) -> bytes:
        self._by_number[_NUMBER.unpack_from(packed, at)[0]].records -= 1
        return packed[:at] + packed[at + _RECORD.size :]

    def _drop_keys(self) -> None:
        greediest = max(self._hosts.values(), key=lambda host: len(host.keys))
        for key in list(islice(greediest.keys, max(1, len(greediest.keys) // _PART))):
            hosts = (self._by_number[number].host for number, _ in _RECORD.iter_unpack(greediest.keys[key]))
            heir = min(hosts, key=lambda host: len(host.keys))
            if len(heir.keys) + 1 < len(greediest.keys):
                heir.keys[key] = greediest.keys.pop(key)
                self._keys[key] = heir
            else:
                self._remove(key)

    # --- providers ---------------------------------------------------------------------------------------

    def _new_provider(self, peer: PeerInfo, address: str) -> _Provider | None:
        if len(self._providers) >= MAX_PROVIDERS and not self._drop_providers():
            return None
        if len(self._by_number) >= 2 * MAX_PROVIDERS:
            self._sweep()
        host = self._hosts.get(address) or self._hosts.setdefault(address, _Host())
        host.providers += 1
        host.numbers += 1
        number = self._free.pop() if self._free else len(self._by_number)
        provider = _Provider(number, peer, host)
        self._providers[peer.id.raw] = self._by_number[number] = provider
        return provider

    def _drop_providers(self) -> bool:
        """Drop providers of the host with the most; where each has one, one that provides nothing."""
        greediest = max(self._hosts.values(), key=lambda host: host.providers)
        if greediest.providers > 1:
            count = max(1, greediest.providers // _PART)
            candidates = (one for one in self._providers.values() if one.host is greediest)
        else:
            count = 1
            candidates = (one for one in self._providers.values() if not one.records)
        dropped = list(islice(candidates, count))
        for provider in dropped:
            self._drop(provider)
        return bool(dropped)

    def _drop(self, provider: _Provider) -> None:
        """Be done with a provider; its number is free again once its records are gone."""
        if provider.peer is not None:
            del self._providers[provider.peer.id.raw]
            provider.peer = None
            provider.addresses_until = 0.0
            provider.host.providers -= 1
        if not provider.records:
            del self._by_number[provider.number]
            self._free.append(provider.number)
            provider.host.numbers -= 1

    def _sweep(self) -> None:
        """Free the numbers of all providers that were dropped."""
        for key, host in list(self._keys.items()):
            packed, at = host.keys[key], 0
            while at < len(packed):
                if self._by_number[_NUMBER.unpack_from(packed, at)[0]].peer is None:
                    packed = self._cut(packed, at)
                else:
                    at += _RECORD.size
            if packed:
                host.keys[key] = packed
            else:
                del host.keys[key], self._keys[key]
        for provider in [one for one in self._by_number.values() if one.peer is None]:
            self._drop(provider)
