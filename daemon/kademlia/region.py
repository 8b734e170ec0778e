"""Which peers cover a part of the key space, so that many keys can be provided after few lookups.

A lookup finds the K peers nearest to a key. Say that all of them share at least n bits with it, and the last
of them no more: then the part of the space with these n bits holds at least K peers, so the K nearest of
every key in it are in it as well. The half of it that the key is in is known; the other half is explored by
further lookups. No key is ever left without a region: there is one around every key, in a network of less
than K peers the whole space. When peers have failed, a lookup in a larger network may find fewer than K; then
the region is the part that those cover.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from random import Random

from daemon.kademlia.key import BITS, MAX_PREFIX, common_prefix, key_under, position
from daemon.kademlia.parameters import K
from daemon.libp2p.peer_info import PeerInfo

MAX_LOOKUPS = 16
"""Lookups for one region, which takes some three; peers that are far from evenly spread cost more."""


class Region:
    """The smallest part of the key space around a key that is known to hold its K nearest peers."""

    def __init__(self, key: bytes, nearest: Sequence[PeerInfo], known: int, random: Random) -> None:
        """Begin with a key and its nearest peers, the nearest first, as a lookup has found them.

        There are at least ``known`` peers in the network.
        """
        self._random = random
        self._whole = known < K and len(nearest) < K
        self.peers: dict[bytes, PeerInfo] = {}
        """All peers that have been found, those nearby as well, by the bytes of their IDs."""
        self._unexplored: list[tuple[int, int]] = []  # prefixes
        self._lookups = 1
        where = position(key)
        self.length = 0 if self._whole else _shared(where, nearest)
        self.prefix = where >> BITS - self.length
        self._add(where, nearest, self.length)

    def __contains__(self, key: bytes) -> bool:
        return position(key) >> BITS - self.length == self.prefix

    def next_target(self) -> bytes | None:
        """Return a key whose nearest peers are to be told to ``explored``; None when all is known."""
        if not self._unexplored or self._lookups >= MAX_LOOKUPS:
            return None
        self._lookups += 1
        return key_under(*self._unexplored[-1], self._random)

    def explored(self, target: bytes, nearest: Sequence[PeerInfo]) -> None:
        """Take the nearest peers of the key that ``next_target`` returned last."""
        _, length = self._unexplored.pop()
        self._add(position(target), nearest, length)

    def _add(self, where: int, nearest: Sequence[PeerInfo], length: int) -> None:
        self.peers |= {peer.id.raw: peer for peer in nearest}
        if self._whole:
            return
        shared = _shared(where, nearest)
        # All peers with one bit more are known. What is beside them is not, up to the part in question.
        for depth in range(length, min(shared + 1, MAX_PREFIX)):
            self._unexplored.append((where >> BITS - depth - 1 ^ 1, depth + 1))


def _shared(where: int, nearest: Sequence[PeerInfo]) -> int:
    """Return how many leading bits all of the nearest peers share with a position."""
    return common_prefix(where, position(nearest[-1].id.raw)) if nearest else BITS


def allocate(keys: Iterable[bytes], peers: Iterable[PeerInfo]) -> dict[bytes, list[bytes]]:
    """Return which keys go to which peers, by the bytes of their IDs: each to the K nearest."""
    places = [(position(peer.id.raw), peer.id.raw) for peer in peers]
    allocated: dict[bytes, list[bytes]] = {raw: [] for _, raw in places}
    for key in keys:
        where = position(key)
        nearest = places
        if len(places) > K:
            nearest = heapq.nsmallest(K, places, key=lambda place: place[0] ^ where)  # used at once
        for _, raw in nearest:
            allocated[raw].append(key)
    return {raw: assigned for raw, assigned in allocated.items() if assigned}
