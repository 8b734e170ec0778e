"""What is served, made of the nodes: bodies and ETags, once for each change and not for each request."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bootstrapper.node import Node, Rank

_Place = tuple[Rank, Node]

MAX_LIMIT = 100
"""The most nodes that one answer names. A client dials three."""


class Answer(NamedTuple):
    """A body, JSON in UTF-8, and its ETag without quotation marks."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a server needs of the nodes."""

    entries: tuple[str, ...]
    """The first nodes in order, each as JSON; at most MAX_LIMIT."""
    topology: str
    """Address to zone, as JSON."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many nodes there are of each rank, by its name in lower case."""


class Answers:
    """All that can be answered until the nodes change."""

    def __init__(self, selection: Selection) -> None:
        self.counts = selection.counts
        self.topology = _answer(selection.topology)
        entries = selection.entries
        self._nodes = [_answer(f"[{','.join(entries[:limit])}]") for limit in range(len(entries) + 1)]

    def nodes(self, limit: int) -> Answer:
        """Return the first nodes."""
        return self._nodes[min(limit, len(self._nodes) - 1)]


def select(nodes: Collection[Node], now: float, patience: float) -> Selection:
    """Put the nodes in order and render them.

    Everyone gets the same order, so that all nodes meet: ready nodes first, those that leave or have been
    unready for ``patience`` seconds last, the oldest first among equals. The oldest, because then a node that
    joins does not change what the others are answered. An address is named once, by the first of its nodes.
    """
    ranked = [(node.rank(now, patience), node) for node in nodes]
    counts = Counter(rank for rank, _ in ranked)
    return Selection(_entries(ranked), _topology(ranked), {rank.name.lower(): counts[rank] for rank in Rank})


def next_change(nodes: Collection[Node], now: float, patience: float) -> float | None:
    """Return when the order changes next although no node does; None when it never will."""
    times = (
        node.unready_since + patience for node in nodes if node.unready_since is not None and not node.leaving
    )
    return min((time for time in times if time > now), default=None)


def entry(addresses: Sequence[str]) -> str:
    """Return a node in the one shape that both known clients read.

    ``ID`` and ``Addrs`` (multiaddrs; without a port, the router's port is meant) are for upstream Spegel,
    ``IP`` and ``Zone`` are the fields of Go's net.IPAddr.
    """
    multiaddrs = [f"/{'ip6' if ':' in address else 'ip4'}/{address}" for address in addresses]
    return _json({"ID": "", "Addrs": multiaddrs, "IP": addresses[0], "Zone": ""})


def _entries(ranked: Sequence[_Place]) -> tuple[str, ...]:
    entries: list[str] = []
    named: set[str] = set()
    heap = list(ranked)  # of which only the first few have to be put in order
    heapq.heapify(heap)
    while heap and len(entries) < MAX_LIMIT:
        _, node = heapq.heappop(heap)
        # A new machine may have got the address of one whose Node object is still there.
        if addresses := [address for address in node.addresses if address not in named]:
            entries.append(entry(addresses))
            named.update(addresses)
    return tuple(entries)


def _topology(ranked: Sequence[_Place]) -> str:
    zones: dict[str, _Place] = {}
    for place in ranked:
        for address in place[1].addresses if place[1].zone else ():
            if address not in zones or place < zones[address]:
                zones[address] = place
    return _json({address: zones[address][1].zone for address in sorted(zones)})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _answer(text: str) -> Answer:
    body = text.encode()
    return Answer(body, hashlib.blake2b(body, digest_size=12).hexdigest())
