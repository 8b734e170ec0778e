"""The routing table: whom a node knows, many near itself and few far away.

Peers are sorted into buckets by the number of leading bits that their positions share with the node's own.
A bucket holds up to K peers. go-libp2p-kbucket keeps all buckets from some depth on in one list that unfolds
when it is full; that accepts the same peers as the buckets here, which all exist from the start.

A table counts peers, not addresses: nodes of a cluster are rightly all in one network prefix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from daemon.kademlia.key import MAX_PREFIX, common_prefix, position
from daemon.kademlia.parameters import K
from daemon.libp2p.identity import PeerId
from daemon.libp2p.peer_info import PeerInfo


class _Entry:
    __slots__ = ("peer", "position", "seen_at")

    def __init__(self, peer: PeerInfo, seen_at: float) -> None:
        self.peer = peer
        self.position = position(peer.id.raw)
        self.seen_at = seen_at


class Table:
    """Peers that have answered. Times are seconds on any one clock."""

    def __init__(self, local: PeerId) -> None:
        self.local = local
        self.position = position(local.raw)
        self._size = 0
        # By the length of the shared prefix; in a bucket, whoever answered last is last.
        self._buckets: defaultdict[int, dict[bytes, _Entry]] = defaultdict(dict)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[PeerInfo]:
        return iter([entry.peer for bucket in self._buckets.values() for entry in bucket.values()])

    def get(self, peer: PeerId) -> PeerInfo | None:
        """Return what is known of a peer; None when it is not in the table."""
        entry = self._bucket(peer).get(peer.raw)
        return entry.peer if entry else None

    def add(self, peer: PeerInfo, now: float) -> bool:
        """Note that a peer has answered.

        A peer that is new goes into its bucket, one that is not is noted to live, and where it is
        reached now.

        Returns:
            Whether it is in the table now; not when its bucket is full, or when it is the node itself.
        """
        if peer.id == self.local:
            return False
        bucket = self._bucket(peer.id)
        entry = bucket.pop(peer.id.raw, None)
        if entry is None:
            if len(bucket) >= K:
                return False
            entry = _Entry(peer, now)
            self._size += 1
        elif peer.addresses:
            entry.peer = peer
        entry.seen_at = now
        bucket[peer.id.raw] = entry
        return True

    def remove(self, peer: PeerId) -> PeerInfo | None:
        """Take out a peer that does not answer, and return what was known of it."""
        entry = self._bucket(peer).pop(peer.raw, None)
        if entry is None:
            return None
        self._size -= 1
        return entry.peer

    def has_room_for(self, peer: PeerId) -> bool:
        """Tell whether a peer's bucket is not full, or the peer is in it."""
        bucket = self._bucket(peer)
        return len(bucket) < K or peer.raw in bucket

    def in_the_way_of(self, peer: PeerId, silent_since: float) -> PeerInfo | None:
        """Return the peer to be asked for a sign of life so that another may have its place.

        It is the one that has been silent longest; None when there is room, or when it was heard after
        ``silent_since``: who has lived long will live longer.
        """
        if self.has_room_for(peer):
            return None
        oldest = next(iter(self._bucket(peer).values()))
        return oldest.peer if oldest.seen_at <= silent_since else None

    def silent(self, since: float) -> list[PeerInfo]:
        """Return the peers that have not answered after a time."""
        return [
            entry.peer
            for bucket in self._buckets.values()
            for entry in bucket.values()
            if entry.seen_at <= since
        ]

    def nearest(self, target: int, count: int = K, without: PeerId | None = None) -> list[PeerInfo]:
        """Return the peers nearest to a position, the nearest first."""
        shared = common_prefix(target, self.position)
        # Peers of the bucket share more bits with the target than this node does, those of deeper buckets
        # exactly as many, and those of shallower ones fewer and fewer.
        found = list(self._buckets[shared].values())
        if len(found) <= count:
            for depth, bucket in self._buckets.items():
                if depth > shared:
                    found += bucket.values()
        for depth in range(shared - 1, -1, -1):
            if len(found) > count:
                break
            if depth in self._buckets:
                found += self._buckets[depth].values()
        found.sort(key=lambda entry: entry.position ^ target)
        left_out = without.raw if without else None
        return [entry.peer for entry in found[: count + 1] if entry.peer.id.raw != left_out][:count]

    def depths(self) -> range:
        """Return the shared prefixes' lengths whose buckets are worth a search of their own.

        Buckets that, with all deeper ones, hold less than K peers are left out: a search for the node's own
        position finds those.
        """
        deeper = self._size
        for depth in range(MAX_PREFIX):
            if deeper < K:
                return range(depth)
            deeper -= len(self._buckets.get(depth, ()))
        return range(MAX_PREFIX)

    def _bucket(self, peer: PeerId) -> dict[bytes, _Entry]:
        return self._buckets[common_prefix(position(peer.raw), self.position)]
