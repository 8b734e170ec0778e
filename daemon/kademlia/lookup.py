"""An iterative lookup: whom to ask next, and when to stop.

A lookup starts from the peers nearest to a position that are known and asks ever nearer ones, ALPHA at once.
As soon as the BETA nearest have answered there is nobody nearer to be found; then whoever is missing of the K
nearest is asked at once. So do go-libp2p-kad-dht's lookups. The machine knows neither time nor network: it is
told who has answered and who has failed.

    lookup = Lookup(position(key), table.nearest(position(key)), local)
    for peer in lookup.to_ask(): ...     # at the start and after each of the following
    lookup.answered(peer.id, answer.closer)
    lookup.failed(peer.id)
"""

from __future__ import annotations

import enum
from bisect import bisect_left, insort
from collections.abc import Iterable

from daemon.kademlia.key import position
from daemon.kademlia.parameters import ALPHA, BETA, K
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo

MAX_CANDIDATES = 10 * K
"""Peers considered at once, the nearest of those heard of."""
MAX_ASKED = 8 * K
"""Peers asked by one lookup, whatever they say; a lookup among 10,000 nodes takes some 40."""


class _State(enum.Enum):
    HEARD = enum.auto()
    WAITING = enum.auto()
    ANSWERED = enum.auto()
    FAILED = enum.auto()


class _Candidate:
    __slots__ = ("distance", "hops", "peer", "state")

    def __init__(self, peer: PeerInfo, distance: int, hops: int) -> None:
        self.peer = peer
        self.distance = distance
        self.hops = hops
        self.state = _State.HEARD

    def __lt__(self, other: _Candidate) -> bool:
        return self.distance < other.distance


class Lookup:
    """One lookup. It asks no peer twice, and never the node itself."""

    def __init__(self, target: int, seeds: Iterable[PeerInfo], local: PeerId) -> None:
        self._target = target
        self._local = local.raw
        self._asked: dict[bytes, _Candidate] = {}
        self._heard: set[bytes] = set()
        self._ranked: list[_Candidate] = []  # by distance; who has failed is left out
        self._waiting = 0
        self._near = False
        self._stopped = False
        self.hops = 0
        """Requests that followed one upon another up to the farthest answer."""
        self._hear(seeds, 1)

    @property
    def done(self) -> bool:
        """Whether nobody is to be asked or waited for any more."""
        if self._stopped:
            return True
        if self._near:
            return all(candidate.state is _State.ANSWERED for candidate in self._ranked[:K])
        return not self._waiting and not any(c.state is _State.HEARD for c in self._ranked)

    def to_ask(self) -> list[PeerInfo]:
        """Return the peers to ask now; answers are waited for from then on."""
        if self._stopped:
            return []
        self._near = self._near or self._is_near()
        if self._near:
            chosen = [c for c in self._ranked[:K] if c.state is _State.HEARD]
        else:
            heard = (c for c in self._ranked if c.state is _State.HEARD)
            chosen = [c for c, _ in zip(heard, range(ALPHA - self._waiting), strict=False)]
        if len(self._asked) + len(chosen) > MAX_ASKED:
            self._stopped = True
            return []
        for candidate in chosen:
            candidate.state = _State.WAITING
            self._asked[candidate.peer.id.raw] = candidate
        self._waiting += len(chosen)
        return [candidate.peer for candidate in chosen]

    def answered(self, peer: PeerId, closer: Iterable[PeerInfo]) -> None:
        """Take the answer of a peer that was to be asked."""
        candidate = self._settle(peer, _State.ANSWERED)
        if candidate is not None:
            self.hops = max(self.hops, candidate.hops)
            if not self._near:
                self._hear(closer, candidate.hops + 1)

    def failed(self, peer: PeerId) -> None:
        """Note that a peer that was to be asked has not answered."""
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

    def _hear(self, peers: Iterable[PeerInfo], hops: int) -> None:
        for peer in peers:
            raw = peer.id.raw
            if raw in self._heard or raw == self._local:
                continue
            candidate = _Candidate(peer, position(raw) ^ self._target, hops)
            if len(self._ranked) >= MAX_CANDIDATES:
                if self._ranked[-1] < candidate:
                    continue
                dropped = self._ranked.pop()
                if dropped.state is _State.HEARD:  # who has been asked is remembered
                    self._heard.discard(dropped.peer.id.raw)
            self._heard.add(raw)
            insort(self._ranked, candidate)

    def _settle(self, peer: PeerId, state: _State) -> _Candidate | None:
        candidate = self._asked.get(peer.raw)
        if candidate is None or candidate.state is not _State.WAITING:
            return None
        candidate.state = state
        self._waiting -= 1
        return candidate

    def _is_near(self) -> bool:
        nearest = self._ranked[:BETA]
        return bool(nearest) and all(c.state is _State.ANSWERED for c in nearest)


class ProviderLookup(Lookup):
    """A lookup that also collects who provides, and ends early when enough are found."""

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
