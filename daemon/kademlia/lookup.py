"""An iterative lookup: whom to ask next, and when to stop.

A lookup starts from the peers nearest to a position that are known and asks ever nearer ones, ALPHA at once.
As soon as the BETA nearest have answered there is nobody nearer to be found; then whoever is missing of the K
nearest is asked at once. So do go-libp2p-kad-dht's lookups. The machine knows neither time nor network: it is
told who has answered and who has failed.

Anybody can name peers that do not exist, as near as they like, or say that others are where they are not. Of
those whose address only one peer has named, so few are waited for that others are asked meanwhile, and when
these do not answer, the rest are passed over.

    lookup = Lookup(position(key), table.nearest(position(key)), local)
    for peer in lookup.to_ask(): ...     # at the start and after each of the following
    lookup.answered(peer.id, answer.closer)
    lookup.failed(peer.id)
"""

from __future__ import annotations

import enum
from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice

from daemon.kademlia.key import position
from daemon.kademlia.message import MAX_ADDRESSES
from daemon.kademlia.parameters import ALPHA, BETA, K
from daemon.libp2p.identity import PeerId
from daemon.libp2p.multiaddr import Multiaddr
from daemon.libp2p.peer_info import PeerInfo

MAX_CANDIDATES = 10 * K
"""Peers considered at once, the nearest of those heard of."""
MAX_ASKED = 8 * K
"""Peers asked by one lookup, whatever they say; a lookup among 10,000 nodes takes some 40."""
MAX_OF_ONE = 4
"""Addresses of a peer that are kept of those that one other alone has named, once a second names others."""
MAX_UNPROVEN = ALPHA // 2
"""Peers asked on the word of one other alone that have not answered."""


class _State(enum.Enum):
    HEARD = enum.auto()
    WAITING = enum.auto()
    ANSWERED = enum.auto()
    FAILED = enum.auto()


class _Candidate:
    __slots__ = ("distance", "hops", "peer", "source", "state", "unproven")

    def __init__(self, peer: PeerInfo, distance: int, source: _Candidate | None) -> None:
        self.peer = peer
        self.distance = distance
        self.hops: int = source.hops + 1 if source else 1
        self.source = source  # who alone has named it, or where it is
        self.state = _State.HEARD
        self.unproven = 0  # of those that it alone has named, how many were asked and have not answered

    def __lt__(self, other: _Candidate) -> bool:
        return self.distance < other.distance

    def hear(self, addresses: tuple[Multiaddr, ...]) -> None:
        """Take where another one says that it is: where two say is tried first, all else after it."""
        agreed = [address for address in addresses if address in self.peer.addresses]
        if self.source is not None and addresses != self.peer.addresses:
            told = dict.fromkeys((*agreed, *self.peer.addresses[:MAX_OF_ONE], *addresses))
            self.peer = PeerInfo(self.peer.id, tuple(islice(told, MAX_ADDRESSES)))
        if agreed:
            self.source = None

    @property
    def counts(self) -> bool:
        """Whether it was asked or may be."""
        source = self.source
        return source is None or source.unproven < MAX_UNPROVEN or self.state is not _State.HEARD


class Lookup:
    """One lookup. It asks no peer twice, and never the node itself."""

    at_first = ALPHA
    """How many peers to ask before any has answered, or has had time to."""

    def __init__(self, target: int, seeds: Iterable[PeerInfo], local: PeerId) -> None:
        self._target = target
        self._local = local.raw
        self._asked: dict[bytes, _Candidate] = {}
        self._heard: dict[bytes, _Candidate] = {}
        self._ranked: list[_Candidate] = []  # by distance; who has failed is left out
        self._waiting = 0
        self._near = False
        self._stopped = False
        self.hops = 0
        """Requests that followed one upon another up to the farthest answer."""
        self._hear(seeds, None)

    @property
    def done(self) -> bool:
        """Whether nobody is to be asked or waited for any more."""
        if self._stopped:
            return True
        if self._near:
            return all(candidate.state is _State.ANSWERED for candidate in self._first(K))
        return not self._waiting and not any(c.state is _State.HEARD and c.counts for c in self._ranked)

    def to_ask(self, at_once: int = ALPHA) -> list[PeerInfo]:
        """Return the peers to ask now, of whom up to ``at_once`` are waited for from then on."""
        if self._stopped:
            return []
        self._near = self._near or self._is_near()
        if self._near:
            heard, room = (c for c in self._first(K) if c.state is _State.HEARD), K
        else:
            heard, room = (c for c in self._ranked if c.state is _State.HEARD), at_once - self._waiting
        chosen: list[PeerInfo] = []
        for candidate in heard:
            if len(chosen) >= room:
                break
            if candidate.counts:
                self._ask(candidate)
                chosen.append(candidate.peer)
        if len(self._asked) > MAX_ASKED:
            self._stopped = True
            return []
        return chosen

    def answered(self, peer: PeerId, closer: Iterable[PeerInfo]) -> None:
        """Take the answer of a peer that was to be asked."""
        candidate = self._settle(peer, _State.ANSWERED)
        if candidate is not None:
            self.hops = max(self.hops, candidate.hops)
            if not self._near:
                self._hear(closer, candidate)
            if candidate.source is not None:
                candidate.source.unproven -= 1

    def failed(self, peer: PeerId) -> None:
        """Note that a peer that was to be asked has not answered. Should it do so later, it counts again."""
        candidate = self._settle(peer, _State.FAILED)
        if candidate is None:
            return
        at = bisect_left(self._ranked, candidate)
        if at < len(self._ranked) and self._ranked[at] is candidate:
            del self._ranked[at]

    def stop(self) -> None:
        """End the lookup: what was sought is found, or nobody waits for it."""
        self._stopped = True

    def nearest(self, count: int = K) -> list[PeerInfo]:
        """Return the nearest peers that have answered, the nearest first."""
        answered = (c.peer for c in self._ranked if c.state is _State.ANSWERED)
        return [peer for peer, _ in zip(answered, range(count), strict=False)]

    def _ask(self, candidate: _Candidate) -> None:
        candidate.state = _State.WAITING
        self._asked[candidate.peer.id.raw] = candidate
        self._waiting += 1
        if candidate.source is not None:
            candidate.source.unproven += 1

    def _hear(self, peers: Iterable[PeerInfo], source: _Candidate | None) -> None:
        for peer in peers:
            raw = peer.id.raw
            known = self._heard.get(raw)
            if known is not None:
                if known.source is not source and known.state is _State.HEARD:
                    known.hear(peer.addresses)
                continue
            if raw == self._local:
                continue
            candidate = _Candidate(peer, position(raw) ^ self._target, source)
            if len(self._ranked) >= MAX_CANDIDATES:
                if self._ranked[-1] < candidate:
                    continue
                dropped = self._ranked.pop()
                if dropped.state is _State.HEARD:  # who has been asked is remembered
                    del self._heard[dropped.peer.id.raw]
            self._heard[raw] = candidate
            insort(self._ranked, candidate)

    def _settle(self, peer: PeerId, state: _State) -> _Candidate | None:
        candidate = self._asked.get(peer.raw)
        if candidate is None or candidate.state in (state, _State.ANSWERED):
            return None
        if candidate.state is _State.WAITING:
            self._waiting -= 1
        else:
            insort(self._ranked, candidate)  # it was only late
        candidate.state = state
        return candidate

    def _first(self, count: int) -> list[_Candidate]:
        """Return the nearest that were asked or may be."""
        return list(islice((c for c in self._ranked if c.counts), count))

    def _is_near(self) -> bool:
        nearest = self._first(BETA)
        return bool(nearest) and all(c.state is _State.ANSWERED for c in nearest)


class ProviderLookup(Lookup):
    """A lookup that also collects who provides, and ends early when enough are found.

    Most often the few nearest peers know all that is sought, and their answers come sooner when nobody else
    is asked meanwhile.
    """

    at_first = BETA

    def __init__(self, target: int, seeds: Iterable[PeerInfo], local: PeerId, wanted: int) -> None:
        super().__init__(target, seeds, local)
        self._wanted = wanted
        self._providers: set[bytes] = set()

    @property
    def found(self) -> int:
        """How many providers have been found, up to the number wanted; never the node itself."""
        return len(self._providers)

    def provided(self, providers: Iterable[PeerInfo]) -> list[PeerInfo]:
        """Take the providers that an answer names, and return those that are new.

        A provider without addresses is of no use; another answer may have them.
        """
        fresh = []
        for provider in providers:
            raw = provider.id.raw
            if not provider.addresses or raw == self._local or raw in self._providers:
                continue
            if len(self._providers) >= self._wanted:
                break
            self._providers.add(raw)
            fresh.append(provider)
        if len(self._providers) >= self._wanted:
            self.stop()
        return fresh
